"""Video files become upright RGB frames with their times in seconds; what is wrong with a file is a named value."""

import math
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from jaxtyping import UInt8

if TYPE_CHECKING:
    from av import VideoFrame

Pixels: TypeAlias = UInt8[np.ndarray, "height width 3"]
Cause: TypeAlias = Literal[
    "no such file", "unreadable", "no video stream", "no frames", "no times", "times run backwards", "damaged",
    "ends early",
]  # fmt: skip
FORMATS = "mov,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,gif,mxf,nut"
"""FFmpeg's names of what is opened: no pictures, no text, and no lists that name other files or servers."""
UNSOUGHT = ("mpeg",)
"""Of these, those whose frames have other times if reading begins elsewhere than at the start."""
NEAR = 2.0
"""Seconds: a frame no farther ahead is decoded on to, one farther is looked up."""
EARLY = 0.5
"""Seconds that a file may end before the length that it tells."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a video, or the rest of one, cannot be read."""

    cause: Cause
    detail: str


@dataclass(frozen=True, slots=True)
class Frame:
    """One upright frame, and when it is shown: in seconds, as the file counts them."""

    time: float
    pixels: Pixels


class Frames(Iterator[Frame]):
    """Frames in the order of their times, one in memory at a time.

    Attributes:
        fault: When the frames have ended: why they ended early; None if they did not.
    """

    def __init__(self, video: "Video", start: float, end: float, side: int | None) -> None:
        self.fault: Fault | None = None
        self._frames = self._read(video, start, end, side)

    def __next__(self) -> Frame:
        return next(self._frames)

    def _read(self, video: "Video", start: float, end: float, side: int | None) -> Generator[Frame]:
        size = video.shrunk(side)
        for raw in video.decode(start):
            if isinstance(raw, Fault):
                self.fault = raw
                return
            if _time(raw) >= end:
                return
            if _time(raw) >= start:
                yield Frame(_time(raw), _upright(raw, size))


@dataclass(frozen=True)
class Video:
    """A video file that has at least one frame. Nothing is held open between calls.

    Attributes:
        size: Height and width of a frame as it is shown: turned as the file says, with square pixels.
        start: The time of the first frame in seconds, which need not be 0.
        length: In seconds, as the file tells it, if it does.
    """

    path: Path
    size: tuple[int, int]
    start: float
    length: float | None

    @classmethod
    def open(cls, path: str | Path) -> "Video | Fault":
        """Look at a file and decode its first frame."""
        path = Path(path)
        if not path.is_file():
            return Fault("no such file", f"{path} is no file")
        first = next(
            _decode(path, -math.inf, check_end=False), Fault("no frames", f"{path} ends before its first frame")
        )
        if isinstance(first, Fault):
            return first
        with _opened(path) as (container, stream):
            length = _length(container, stream)
            width = first.width * float(stream.sample_aspect_ratio or 1)
        height, width = first.height, max(1, round(width))
        return cls(path, (width, height) if first.rotation % 180 else (height, width), _time(first), length)

    def shrunk(self, side: int | None) -> tuple[int, int]:
        """The size of frames whose longer side is at most so long."""
        share = 1.0 if side is None else min(1.0, side / max(self.size))
        return max(1, round(self.size[0] * share)), max(1, round(self.size[1] * share))

    def frames(self, start: float = -math.inf, end: float = math.inf, side: int | None = None) -> Frames:
        """The frames whose times are in [start, end).

        Args:
            start: In seconds.
            end: In seconds.
            side: The longer side of the frames, at most; by default they keep their size.
        """
        return Frames(self, start, end, side)

    def at(self, times: Iterable[float], side: int | None = None) -> Iterator[Frame | Fault]:
        """The frames that are shown at some times: each the last one that is not later, or else the first of all.

        Args:
            times: In seconds, in any order; it is fastest if they grow.
            side: The longer side of the frames, at most; by default they keep their size.

        Yields:
            One for each time, the same as by reading the video from its start.
        """
        size = self.shrunk(side)
        shown: VideoFrame | None = None
        ahead: VideoFrame | Fault | None = None
        frames: Iterator[VideoFrame | Fault] = iter(())
        for time in times:
            if shown is None or not _time(shown) <= time <= _time(shown) + NEAR:
                frames = self.decode(time)
                first = next(frames)
                if isinstance(first, Fault):
                    yield first
                    continue
                shown, ahead = first, next(frames, None)
            while ahead is not None and not isinstance(ahead, Fault) and _time(ahead) <= time:
                shown, ahead = ahead, next(frames, None)
            yield ahead if isinstance(ahead, Fault) else Frame(_time(shown), _upright(shown, size))

    def decode(self, start: float) -> "Iterator[VideoFrame | Fault]":
        """PyAV's frames, from one that is not later than a time; the last may be a fault."""
        return _decode(self.path, start)


def _decode(path: Path, start: float, check_end: bool = True) -> "Iterator[VideoFrame | Fault]":
    """Frames from a key frame on: such a one, and what is shown after it, needs nothing that came before."""
    from av.error import FFmpegError

    last: float | None = None
    try:
        with _opened(path) as (container, stream):
            if stream is None:
                yield Fault("no video stream", f"{path} holds no moving picture")
                return
            for frame in _sought(container, stream, start) or _all_frames(path):
                fault = _fault(path, frame, last)
                if fault is not None:
                    yield fault
                    return
                last = _time(frame)
                yield frame
            fault = _ended(path, container, stream, last) if check_end else None
            if fault is not None:
                yield fault
    except FFmpegError as error:
        cause: Cause = "unreadable" if last is None else "damaged"
        known = "" if last is not None else f"; it is no video of a kind that is read here ({FORMATS}), or not whole"
        yield Fault(cause, f"{path}{_after(last)}: {error.strerror or error}{known}")


@contextmanager
def _opened(path: Path) -> "Generator[tuple[Any, Any]]":
    """A container, and its first stream of moving pictures, if there is one."""
    import av

    rules = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    with av.open(f"file:{path}", options=rules) as container:
        moving = [one for one in container.streams.video if not one.disposition & one.disposition.attached_pic]
        yield container, moving[0] if moving else None


def _sought(container: Any, stream: Any, time: float) -> "Iterator[VideoFrame] | None":
    """Seek to the last key frame that is shown at or before a time; None if that may be the first."""
    if container.format.name in UNSOUGHT:
        return None
    first = 0.0 if stream.start_time is None else float(stream.start_time * stream.time_base)
    back = 0.0
    while time - back > first:
        container.seek(math.floor((time - back) / stream.time_base), stream=stream)
        frames = container.decode(stream)
        key = next((frame for frame in frames if frame.key_frame), None)
        if key is not None and _time(key) <= time:
            return chain([key], frames)
        back = 2 * back + 1
    return None


def _all_frames(path: Path) -> "Iterator[VideoFrame]":
    """From the start of a file: not every kind can be wound back to its first key frame."""
    with _opened(path) as (container, stream):
        yield from container.decode(stream)


def _fault(path: Path, frame: "VideoFrame", last: float | None) -> Fault | None:
    """What is wrong with a frame."""
    if frame.pts is None:
        return Fault("no times", f"{path}{_after(last)}: a frame does not tell when it is shown")
    if last is not None and frame.time <= last:
        return Fault("times run backwards", f"{path}{_after(last)} there is a frame of {frame.time:.3f} s")
    if frame.is_corrupt:
        return Fault("damaged", f"{path}{_after(last)}: a frame could not be decoded whole")
    return None


def _length(container: Any, stream: Any) -> float | None:
    """How long a stream is, in seconds, if the file tells it; that of the whole file where there is nothing else."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if tag := re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", "")):
        return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
    whole: int | None = container.duration
    return None if whole is None or len(container.streams) > 1 else whole / 1e6


def _ended(path: Path, container: Any, stream: Any, last: float | None) -> Fault | None:
    """Whether a file ended before it said it would."""
    length = _length(container, stream)
    if last is None or length is None:
        return None
    told = length + float((stream.start_time or 0) * stream.time_base)
    gap = float(1 / stream.average_rate) if stream.average_rate else 0.0
    if last + gap < told - EARLY:
        return Fault("ends early", f"{path}{_after(last)}, but tells a length up to {told:.3f} s")
    return None


def _after(last: float | None) -> str:
    return "" if last is None else f" after {last:.3f} s"


def _time(frame: "VideoFrame") -> float:
    return math.nan if frame.pts is None else frame.time


def _upright(frame: "VideoFrame", size: tuple[int, int]) -> Pixels:
    """RGB levels of a frame, scaled to a size that it has after it was turned."""
    turns = frame.rotation // 90
    height, width = size[::-1] if turns % 2 else size
    pixels = frame.reformat(width, height, "rgb24", interpolation="AREA").to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, turns))
