"""How right the in-context examples of drawn videos are: what they show and say against what was drawn."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from typing_extensions import override

from omnigen2.curation import Finished, Item, Section
from omnigen2.curation.models import Mask
from omnigen2.files import markdown_table
from omnigen2.microworld.curated.sight import at_box, at_mask, name_of, reading
from omnigen2.microworld.curated.truth import share
from omnigen2.microworld.video import DrawnVideo, View, contexts_of, read_truth, view_of
from omnigen2.pictures import ImageReader

PAINTED, JUDGED = "background", "same_thing"
"""What `Item.made` has of the steps `NewBackground` and `MicroSameThing`."""


@dataclass(frozen=True, slots=True)
class Example:
    """An item, against the truth.

    Attributes:
        possible: Its frames have an example in them.
        subjects: The given pictures show what the target shows; None if it has none yet.
        right: And the instruction is true, and what is said to be in the target is all there is.
        step: Where it was dropped; empty if it was kept.
    """

    possible: bool
    subjects: bool | None
    right: bool
    step: str
    reason: str


class InContextTruth(Section):
    """Precision and recall of in-context examples from drawn videos, of their subjects, and of each step.

    Args:
        into_scene: Whether the last given picture is the target without its subjects.
    """

    def __init__(self, into_scene: bool = False) -> None:
        self.into_scene = into_scene

    @override
    def text(self, finished: Sequence[Finished], clips: Path) -> str:
        found = [one for clip in finished for one in judge_contexts(clip, clips, self.into_scene)]
        kept = [one for one in found if not one.step]
        painted = [one for one in found if one.subjects is not None]
        right = sum(one.right for one in kept)
        lines = [
            ["subjects are right, kept", share(sum(bool(one.subjects) for one in kept), len(kept))],
            ["the same of all that got given pictures", share(sum(bool(o.subjects) for o in painted), len(painted))],
            ["right in all: subjects, places, background, words, kept", share(right, len(kept))],
            ["scenes that have an example and gave a right one", share(right, sum(one.possible for one in found))],
        ]
        parts = ["## Against the truth", markdown_table(("in-context examples", "of all"), lines)]
        steps = list(dict.fromkeys(count.step for clip in finished for count in clip.counts))
        table = [*_subject_lines(finished, clips), *_step_lines(steps, painted)]
        if table:
            heads = ("step", "what", "right of what came", "right of what went on", "right ones that went on")
            parts.append(markdown_table(heads, table))
        lost = Counter(f"{one.step}: {one.reason}" for one in found if one.step and one.possible)
        if lost:
            lines = [[reason, str(number)] for reason, number in lost.most_common()]
            parts.append(markdown_table(("scenes that have an example and were dropped as", "scenes"), lines))
        return "\n\n".join(parts)


def judge_contexts(finished: Finished, clips: Path, into_scene: bool = False) -> list[Example]:
    """All items of a clip that have two pictures."""
    video = _truth(finished, clips)
    if video is None:
        return []
    ends = [(item, "", "") for item in finished.kept] + [(end.item, end.step, end.reason) for end in finished.ended]
    return [
        Example(_possible(video, item, into_scene), *_right(video, finished, item, into_scene), step, reason)
        for item, step, reason in ends
        if len(item.frames) > 1
    ]


def _truth(finished: Finished, clips: Path) -> DrawnVideo | None:
    path = clips / finished.clip.name
    return read_truth(path) if path.with_suffix(".json").is_file() else None


def _names(view: View) -> list[str]:
    return [name_of(item) for item in view.scene.items]


def _possible(video: DrawnVideo, item: Item, into_scene: bool) -> bool:
    """Whether one or two things of the first frame are all that is in a later one, or in it at all for `into_scene`."""
    later = item.frames[-1:] if PAINTED in item.made else item.frames[1:]
    before = set(_names(view_of(video.at(_base(item)))))
    for view in (view_of(video.at(frame.seconds)) for frame in later):
        names = set(_names(view))
        if names & before and (into_scene or (names <= before and len(names) < 3 and not view.cut)):
            return True
    return False


def _right(video: DrawnVideo, finished: Finished, item: Item, into_scene: bool) -> tuple[bool | None, bool]:
    """Whether the subjects are right, None if there are no given pictures yet, and whether all is."""
    if PAINTED not in item.made:
        return None, False
    view = view_of(video.at(item.frames[-1].seconds))
    there = {name_of(thing): thing for thing in view.scene.items}
    given = [reading(_picture(finished, frame.picture)) for frame in item.frames[: len(item.subjects)]]
    names = [name_of(one.items[0]) if one.readable and len(one.items) == 1 else "" for one in given]
    subjects = len(set(names)) == len(names) and all(name in there for name in names)
    if not subjects:
        return False, False
    words = contexts_of([there[name] for name in names], view.scene.background, into_scene)
    rest = sorted(there.keys() - set(names))
    if not into_scene:
        return True, item.instruction in words and not rest and not view.cut
    left = sorted(map(name_of, reading(_picture(finished, item.frames[-2].picture)).items))
    return True, item.instruction in words and left == rest and not view.cut


def _step_lines(steps: Sequence[str], painted: Sequence[Example]) -> Iterator[list[str]]:
    """Of each step that has dropped examples: what it is worth."""
    for number, step in enumerate(steps):
        came = [one for one in painted if not one.step or steps.index(one.step) >= number]
        went = [one for one in came if one.step != step]
        if len(went) < len(came):
            yield _line(step, "examples", [bool(o.subjects) for o in came], [bool(o.subjects) for o in went])


def _subject_lines(finished: Sequence[Finished], clips: Path) -> Iterator[list[str]]:
    """The boxes that were found, and the judge of tracks, against who was there."""
    boxes, came, went = list[bool](), list[bool](), list[bool]()
    for clip in finished:
        video = _truth(clip, clips)
        if video is None:
            continue
        for item in (*clip.kept, *(end.item for end in clip.ended)):
            views = [view_of(video.at(time)) for time in (_base(item), item.frames[-1].seconds)] if item.frames else []
            judged = item.made.get(JUDGED)
            found = [(one["name"], tuple(one["box"])) for one in judged or ()]
            found = found or [(one.name, one.box) for one in item.subjects if one.box]
            around = [(name, at_box(views[0].scene.items, box, video.footage.size)) for name, box in found]
            boxes += [thing is not None and name_of(thing) == name for name, thing in around]
            for said in judged or ():
                masks = [np.asarray(_picture(clip, name))[..., 0] > 127 for name in said["masks"]]
                came.append(all(_at(*pair) == said["name"] for pair in zip(views, masks, strict=True)))
                went += [came[-1]] * said["same"]
    if boxes:
        yield ["boxes", "subjects", "", share(sum(boxes), len(boxes)), ""]
    if came:
        yield _line(JUDGED, "subjects", came, went)


def _base(item: Item) -> float:
    """When the first frame was shown that its subjects were found in."""
    return item.made[PAINTED]["base"]["seconds"] if PAINTED in item.made else item.frames[0].seconds


def _at(view: View, mask: Mask) -> str:
    """The name of what a mask is on."""
    thing = at_mask(view.scene.items, mask)
    return "" if thing is None else name_of(thing)


def _line(step: str, what: str, came: Sequence[bool], went: Sequence[bool]) -> list[str]:
    return [step, what, share(sum(came), len(came)), share(sum(went), len(went)), share(sum(went), sum(came))]


def _picture(finished: Finished, name: str) -> Any:
    return ImageReader().read(finished.folder / name)
