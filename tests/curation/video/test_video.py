"""Videos: frames at their times, exactly; what is broken has a name, and what came before is kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnigen2.curation.video import Fault, Frame, Video
from omnigen2.microworld.video import DrawnVideo, Footage, draw_moment, sample_video, write_video

FOOTAGE = Footage(size=32, shots=(2, 2), seconds=(1.2, 1.6))
TURNED = (0, 90, 180, 270)


@dataclass(frozen=True)
class Kind:
    """How a file is written."""

    suffix: str
    codec: str = "libx264"
    pixels: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    uneven: bool = True


OPEN_GROUPS = {"bf": "3", "g": "9", "x264-params": "open-gop=1"}
KINDS = {
    "b frames": Kind("mp4", "libx264rgb", "rgb24", {"crf": "0", "bf": "3", "g": "9"}),
    "open groups": Kind("mp4", options=OPEN_GROUPS),
    "matroska": Kind("mkv", options=OPEN_GROUPS),
    "transport stream": Kind("ts", options=OPEN_GROUPS),
    "program stream": Kind("mpg", "mpeg2video", options={"bf": "2", "g": "9"}, uneven=False),
    "avi": Kind("avi", "mpeg4", options={"bf": "2", "g": "9"}, uneven=False),
    "vp9": Kind("webm", "libvpx-vp9", options={"g": "9", "deadline": "realtime", "cpu-used": "8"}),
    "one key frame": Kind("mp4", options={"g": "1000"}),
}


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(stack.name)


stack = TemporaryDirectory()


@cache
def written(name: str) -> tuple[Path, list[Frame]]:
    """A file of a kind, and all of its frames."""
    kind = KINDS[name]
    path = Path(stack.name, f"{name.replace(' ', '_')}.{kind.suffix}")
    write_video(drawn(kind.uneven), path, kind.codec, kind.pixels, kind.options)
    frames = opened(path).frames()
    shown = list(frames)
    assert frames.fault is None
    return path, shown


@cache
def drawn(uneven: bool = False) -> DrawnVideo:
    return sample_video(2, Footage(**{**vars(FOOTAGE), "uneven": uneven}))


def opened(path: Path) -> Video:
    video = Video.open(path)
    assert isinstance(video, Video), video
    return video


def fault_of(path: Path) -> Fault:
    fault = Video.open(path)
    assert isinstance(fault, Fault)
    assert path.name in fault.detail
    return fault


@pytest.mark.parametrize("name", KINDS)
def test_all_frames_have_their_times(name: str) -> None:
    path, frames = written(name)
    moments = drawn(KINDS[name].uneven).moments
    assert len(frames) == len(moments)
    start = opened(path).start
    if name != "program stream":
        assert [frame.time - start for frame in frames] == pytest.approx([moment.time for moment in moments], abs=1e-3)


@pytest.mark.parametrize("name", KINDS)
@given(times=st.lists(st.floats(-1, 6, width=32), min_size=1, max_size=4))
def test_the_frame_at_a_time_is_that_of_decoding_from_the_start(name: str, times: list[float]) -> None:
    path, frames = written(name)
    for time, found in zip(times, opened(path).at(times), strict=True):
        wanted = next((frame for frame in reversed(frames) if frame.time <= time), frames[0])
        assert isinstance(found, Frame)
        assert found.time == wanted.time
        np.testing.assert_array_equal(found.pixels, wanted.pixels)


@given(start=st.floats(0, 4), length=st.floats(0, 3))
def test_a_part_of_a_video_is_half_open(start: float, length: float) -> None:
    path, frames = written("b frames")
    part = [frame.time for frame in opened(path).frames(start, start + length)]
    assert part == [frame.time for frame in frames if start <= frame.time < start + length]


@pytest.mark.parametrize("turn", TURNED)
def test_frames_are_upright_also_in_the_eyes_of_opencv(turn: int, folder: Path) -> None:
    import cv2

    video = drawn()
    path = folder / f"turned_{turn}.mp4"
    write_video(video, path, rotation=turn)
    first = next(opened(path).frames())
    np.testing.assert_array_equal(first.pixels, draw_moment(video, video.moments[0]))
    others = cv2.VideoCapture(str(path)).read()[1]
    np.testing.assert_array_equal(first.pixels, others[..., ::-1])


def test_sizes_are_those_that_are_shown(folder: Path) -> None:
    path = folder / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = 2
        stream.set_display_rotation(90)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 32, 3), np.uint8), "rgb24")))
        container.mux(stream.encode())
    video = opened(path)
    assert video.size == (64, 48)
    assert next(video.frames()).pixels.shape == (64, 48, 3)
    assert next(video.frames(side=32)).pixels.shape == (32, 24, 3)


def cut_off(name: str, folder: Path) -> Path:
    path = folder / f"half_{name.replace(' ', '_')}.{KINDS[name].suffix}"
    content = written(name)[0].read_bytes()
    path.write_bytes(content[: 6 * len(content) // 10])
    return path


def with_hole(name: str, folder: Path) -> Path:
    path = folder / f"hole.{KINDS[name].suffix}"
    content = bytearray(written(name)[0].read_bytes())
    middle = len(content) // 2
    content[middle : middle + middle // 4] = bytes(middle // 4)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "broken", "cause"),
    [("b frames", with_hole, "damaged"), ("matroska", cut_off, "ends early"), ("vp9", cut_off, "ends early")],
    ids=["damaged", "matroska", "vp9"],
)
def test_what_came_before_the_end_of_a_broken_file_is_kept(
    name: str, broken: Callable[[str, Path], Path], cause: str, folder: Path
) -> None:
    whole = written(name)[1]
    video = opened(broken(name, folder))
    frames = video.frames()
    kept = list(frames)
    assert frames.fault is not None
    assert frames.fault.cause == cause
    assert 5 < len(kept) < len(whole)
    for frame, other in zip(kept, whole, strict=False):
        assert frame.time == other.time
        np.testing.assert_array_equal(frame.pixels, other.pixels)
    before, after = video.at([kept[2].time, whole[-1].time + 1])
    assert isinstance(before, Frame)
    assert cause == "damaged" or after == frames.fault  # beyond damage, what follows a key frame can be read again


def test_an_index_at_the_end_that_is_cut_off(folder: Path) -> None:
    fault = fault_of(cut_off("b frames", folder))
    assert fault.cause == "unreadable"
    assert "or not whole" in fault.detail


def test_files_that_are_no_videos_say_why(folder: Path) -> None:
    assert fault_of(folder / "absent.mp4").cause == "no such file"
    (folder / "words.mp4").write_text("no video at all\n" * 99)
    (folder / "empty.mp4").touch()
    (folder / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n")
    Image.new("RGB", (16, 16)).save(folder / "picture.png")
    for name in ("words.mp4", "empty.mp4", "list.m3u8", "picture.png"):
        assert fault_of(folder / name).cause == "unreadable"
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert fault_of(folder / "sound.mp4").cause == "no video stream"
