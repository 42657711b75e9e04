"""Models for a world in which the subject is what is red, and videos of it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from typing_extensions import override

from omnigen2.curation.models import Box, Detector, Embedder, Filler, Found, Mask, Tracker
from omnigen2.curation.video import Pixels
from omnigen2.pictures import Picture

RED, GREY = (230, 20, 20), (90, 90, 90)
MODELS = {
    "boxes.detector": "Reds",
    "tracks.tracker": "RedPixels",
    "background.filler": "Plain",
    "subject_kept.embedder": "Colours",
    "fill.filler": "Plain",
    "erase.filler": "Plain",
}
"""What takes the place of the models, by the settings of recipes."""


def instead(steps: Iterable[str]) -> list[str]:
    """Changes of a recipe that put them there."""
    there = [place for place in MODELS if place.partition(".")[0] in steps]
    return [f"{place}={{class_path: {__name__}.{MODELS[place]}}}" for place in there]


class Reds(Detector):
    """The box of all that is red, for each name."""

    @override
    def find(self, picture: Pixels, names: Sequence[str]) -> Sequence[Found]:
        rows, columns = np.nonzero(_red(picture))
        box = (float(columns.min()), float(rows.min()), columns.max() + 1.0, rows.max() + 1.0)
        return [Found(name, box, 0.9) for name in names]


class RedPixels(Tracker):
    """All that is red."""

    @override
    def track(self, frames: Iterable[Pixels], boxes: Sequence[Box]) -> Iterator[Any]:
        for frame in frames:
            yield np.stack([_red(frame)] * len(boxes))


class Plain(Filler):
    """One colour, by the seed."""

    @override
    def _filled(self, picture: Pixels, mask: Mask, prompt: str, seed: int) -> Pixels:
        return np.full_like(picture, np.random.default_rng(seed).integers(0, 100, 3))


class Colours(Embedder):
    """The share of red."""

    @override
    def __call__(self, pictures: Sequence[Picture]) -> Any:
        return torch.stack([torch.tensor([1.0, 0.0]) + (picture[0].mean() > 0) for picture in pictures])


def write_red(path: Path, seconds: float, *, gone: bool = False) -> None:
    """A red square moves over grey; it may leave in the middle."""
    import av

    with av.open(path, "w") as file:
        stream = file.add_stream("libx264rgb", rate=10, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        for number in range(round(10 * seconds)):
            picture = np.full((48, 64, 3), GREY, np.uint8)
            if not (gone and number > 4):
                picture[12:32, 4 + number : 24 + number] = RED
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode(None))


def _red(picture: Pixels) -> Mask:
    return (picture[..., 0] > 180) & (picture[..., 1] < 60)
