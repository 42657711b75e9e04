"""Scene cuts by PySceneDetect, in seconds; a flash of light is no cut.

P4, section 9.4.2: cuts by mean RGB intensity, made robust to movement by a rolling mean of HSV differences. That is
what PySceneDetect's ThresholdDetector (fades to black and back) and AdaptiveDetector (hard cuts) do.
"""

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from omnigen2.curation.video.reader import Frame, Pixels

SIDE = 256
"""Longer side of the frames that are enough for finding cuts, and that PySceneDetect itself shrinks to, about."""
THUMB = 8
RATE = 25.0
"""PySceneDetect counts frames; what it makes of them in seconds is not used, so any rate does."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a video in seconds: frames with `start <= time < end` belong to it."""

    start: float
    end: float

    @property
    def length(self) -> float:
        """In seconds."""
        return self.end - self.start


@dataclass(frozen=True)
class SceneCuts:
    """Cuts a video into scenes.

    Attributes:
        ratio: A cut is where neighbouring frames differ by this many times the mean of the differences around.
        content: … and by at least this much: mean difference of hue, saturation and value, of 255 levels.
        window: How many differences on each side are around.
        dark: Mean level of a frame below which it is black: a fade to black and back is a cut in its middle.
        flash: Seconds. Frames on both sides of a cut, no farther from it than this, that are alike make it a flash.
        alike: Levels, of 255, by which a spot of two frames may differ and be the same.
        most: The share of spots, of 8 by 8, that are the same in frames that are alike.
        shortest: Seconds. Of cuts nearer to each other than this, the first counts, but a fade before all others; none
            counts that is so near to the start.
    """

    ratio: float = 3.0
    content: float = 15.0
    window: int = 2
    dark: float = 12.0
    flash: float = 0.4
    alike: float = 20.0
    most: float = 0.6
    shortest: float = 0.3

    def __call__(self, frames: Iterable[Frame]) -> tuple[Span, ...]:
        """Find the scenes; a video without a cut is one, and one without frames has none.

        Args:
            frames: Of one size, in order; `SIDE` is large enough. None is kept.
        """
        from scenedetect import AdaptiveDetector, FrameTimecode, ThresholdDetector

        hard = AdaptiveDetector(self.ratio, 1, self.window, self.content)
        dark = ThresholdDetector(self.dark, 1)
        times, thumbs = array("d"), bytearray()
        found: dict[int, bool] = {}
        for number, frame in enumerate(frames):
            timecode = FrameTimecode(number, RATE)
            blue_first = np.ascontiguousarray(frame.pixels[..., ::-1])
            found |= {cut.frame_num: False for cut in hard.process_frame(timecode, blue_first)}
            found |= {cut.frame_num: True for cut in dark.process_frame(timecode, blue_first)}
            times.append(frame.time)
            thumbs += _thumb(frame.pixels).tobytes()
        if not times:
            return ()
        small = np.frombuffer(bytes(thumbs), np.uint8).reshape(len(times), -1)
        cuts = [number for number, fade in found.items() if fade or not self._is_flash(number, times, small)]
        cuts = self._apart(sorted(cuts, key=lambda number: (not found[number], number)), times)
        last = times[-1] - times[-2] if len(times) > 1 else 1 / RATE
        borders = [times[0], *(times[number] for number in cuts), times[-1] + last]
        return tuple(Span(start, end) for start, end in zip(borders, borders[1:], strict=False))

    def _is_flash(self, cut: int, times: "array[float]", thumbs: UInt8[np.ndarray, "frames levels"]) -> bool:
        """Whether most of a frame before the cut comes again after it, in whatever light."""
        near = np.searchsorted(times, [times[cut] - self.flash, times[cut] + self.flash])
        before, after = (_lit_alike(thumbs[slice(*ends)]) for ends in ((near[0], cut), (cut, near[1] + 1)))
        same = np.abs(before[:, None] - after[None]).max(-1) <= self.alike
        return bool((same.mean(-1) >= self.most).any())

    def _apart(self, cuts: list[int], times: "array[float]") -> list[int]:
        """Those not too near to the start or to one that stands before them, in the order of their times."""
        kept = [0]
        for cut in cuts:
            if all(abs(times[cut] - times[other]) >= self.shortest for other in kept):
                kept.append(cut)
        return sorted(kept)[1:]


def _lit_alike(levels: UInt8[np.ndarray, "frames levels"]) -> Float[np.ndarray, "frames spots 3"]:
    """Thumbnails whose median level is that of a grey picture."""
    wide = levels.astype(np.float64)
    return (wide * (128 / np.median(wide, -1, keepdims=True).clip(1))).reshape(len(levels), -1, 3)


def _thumb(pixels: Pixels) -> UInt8[np.ndarray, "side side 3"]:
    import cv2

    return np.asarray(cv2.resize(pixels, (THUMB, THUMB), interpolation=cv2.INTER_AREA), dtype=np.uint8)
