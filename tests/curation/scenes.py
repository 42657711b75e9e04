"""Pictures of a world where the subject is what is red, as items of a clip."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from omnigen2.curation import Frame, Item, OpenClip, Step, Subject, through
from omnigen2.curation.steps import FindSubjects, LastWhole, TrackSubjects
from omnigen2.curation.steps.masks import keep_made
from tests.curation.stand_ins import GREY, RED, RedPixels, Reds


def scene(*lefts: int, side: int = 20, height: int = 48, width: int = 64) -> list[Any]:
    """Pictures of a red square, with its left side at some columns."""
    pictures = [np.full((height, width, 3), GREY, np.uint8) for _ in lefts]
    for picture, left in zip(pictures, lefts, strict=True):
        picture[12 : 12 + side, max(0, left) : max(0, left + side)] = RED
    return pictures


def item_of(clip: OpenClip, pictures: Sequence[Any], names: Sequence[str] = ("the red square",)) -> Item:
    frames = tuple(keep_made(clip, float(number), picture, "scene") for number, picture in enumerate(pictures))
    return Item("scene 0", (0.0, float(len(frames))), frames, tuple(map(Subject, names)))


def kept(step: Step, item: Item, clip: OpenClip) -> Item:
    """The one item that comes out."""
    (given,), ended, count = through("step", step, [item], clip)
    assert not ended
    assert count.taken == count.went_on
    return given


def reason(step: Step, item: Item, clip: OpenClip) -> tuple[str, str]:
    """Why nothing comes out."""
    given, (end,), _ = through("step", step, [item], clip)
    assert not given
    return end.reason, end.detail


def pair(clip: OpenClip, *lefts: int) -> Item:
    """A base frame and a target with masks, as they are after `LastWhole`."""
    item = kept(FindSubjects(Reds()), item_of(clip, scene(*lefts)), clip)
    return kept(LastWhole(), kept(TrackSubjects(RedPixels()), item, clip), clip)


def pixels(clip: OpenClip, frame: Frame) -> Any:
    return np.asarray(clip.read(frame))
