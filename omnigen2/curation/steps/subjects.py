"""Scenes become key frames; subjects that have names get boxes, and masks in every frame; the pair of frames is chosen.

P4, section 9.3.1, steps 1 to 4.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from typing_extensions import override

from omnigen2.curation import (
    CurationError,
    Dropped,
    Frame,
    Item,
    Limiting,
    OpenClip,
    Outcome,
    Resources,
    Step,
    Subject,
)
from omnigen2.curation.models import Box, Detector, Found, Mask, Tracker, placed
from omnigen2.curation.steps.masks import keep_mask, png, read_mask
from omnigen2.curation.video import Fault, Pixels, Video


class KeyFrames(Step):
    """Takes frames out of a scene at even times, and writes them as PNG files; the first is the base frame.

    P4, section 9.3.1, step 1.

    Args:
        most: Frames of a scene; a scene that is too short for two gives the one in its middle.
        gap: Seconds between two frames, at least.
        margin: Seconds at both ends of the scene that are left out.

    Raises:
        CurationError: If a number is out of range.
    """

    def __init__(self, most: int = 8, gap: float = 0.5, margin: float = 0.1) -> None:
        if most < 1 or gap <= 0 or margin < 0:
            raise CurationError(
                f"KeyFrames has most {most}, gap {gap} and margin {margin}",
                "give at least 1 frame, a gap above 0 and no negative margin",
            )
        self.most, self.gap, self.margin = most, gap, margin

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self._frames(item, clip) for item in items]

    def times(self, start: float, end: float) -> list[float]:
        """Where frames are taken, in seconds."""
        first, last = start + self.margin, end - self.margin
        number = min(self.most, 1 + int(max(0.0, last - first) / self.gap))
        return [(start + end) / 2] if number == 1 else np.linspace(first, last, number).tolist()

    def _frames(self, item: Item, clip: OpenClip) -> Outcome:
        video = Video.open(clip.file)
        if isinstance(video, Fault):
            return Dropped(video.cause, video.detail)
        start, end = item.span or (video.start, video.start + (video.length or 0.0))
        frames: dict[float, Frame] = {}
        fault: Fault | None = None
        for frame in video.at(self.times(start, end)):
            if isinstance(frame, Fault):
                fault = frame
            else:
                frames[frame.time] = clip.keep(frame.time, png(frame.pixels))
        if fault is not None:
            if not frames:
                return Dropped(fault.cause, fault.detail)
            item = item.with_made("key_frames", {"fault": fault.cause})
        return (replace(item, frames=tuple(frames.values())),)


class FindSubjects(Limiting):
    """Gives the subjects of an item their boxes in its first frame; those that are not found, or small, are left out.

    P4, section 9.3.1, step 3. Of boxes that overlap the surest counts, and of the boxes of one name too. Score
    `subject_area`: the share of the frame that the box of the largest subject has.

    Args:
        detector: Such as Grounding DINO.
        least: Of `subject_area`, for each subject; OpenS2V takes 0.08.
        overlap: Of two boxes, shared by united area, above which they are of one thing; ImgEdit takes 0.5.
        resources: A worker holds the model.
    """

    elsewhere = ("resources",)
    reasons = {"subject_area.least": "all subjects are too small"}

    def __init__(
        self,
        detector: Detector,
        least: float = 0.08,
        overlap: float = 0.5,
        resources: Resources = Resources(0.5, workers=1),  # noqa: B008  (frozen)
    ) -> None:
        self.detector, self.least, self.overlap = placed(detector, resources), least, overlap
        self.resources = resources

    @property
    @override
    def limits(self) -> Mapping[str, float]:
        return {"subject_area.least": self.least}

    @override
    def check(self) -> None:
        self.detector.check()

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self._found(item, clip) for item in items]

    def _found(self, item: Item, clip: OpenClip) -> Outcome:
        picture = np.asarray(clip.read(item.frames[0]))
        names = [subject.name for subject in item.subjects]
        best: dict[str, Found] = {}
        for found in apart(self.detector.find(picture, names), self.overlap):
            best.setdefault(found.name, found)
        missing = [name for name in names if name not in best]
        if len(missing) == len(names):
            return Dropped("no subject was found", ", ".join(missing))
        areas = {name: float(_area(found.box)) / picture[..., 0].size for name, found in best.items()}
        small = [name for name in names if name in best and areas[name] < self.least]
        item = item.scored({"subject_area": max(areas.values())})
        item = item.with_made("boxes", {"model": self.detector.name, "missing": missing, "small": small})
        large = [name for name in names if name in best and name not in small] or small
        subjects = tuple(Subject(name, _plain(best[name].box), float(best[name].score)) for name in large)
        return self.decide(replace(item, subjects=subjects))


class TrackSubjects(Step):
    """Gives the subjects of an item their masks in all of its frames.

    P4, section 9.3.1, step 4.

    Args:
        tracker: Such as SAM 2.
        resources: A worker holds the model.
    """

    elsewhere = ("resources",)

    def __init__(
        self,
        tracker: Tracker,
        resources: Resources = Resources(0.5, workers=1),  # noqa: B008  (frozen)
    ) -> None:
        self.tracker, self.resources = placed(tracker, resources), resources

    @override
    def check(self) -> None:
        self.tracker.check()

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self._tracked(item, clip) for item in items]

    def _tracked(self, item: Item, clip: OpenClip) -> Outcome:
        boxes = [subject.box for subject in item.subjects if subject.box is not None]
        if not boxes or len(boxes) < len(item.subjects):
            return Dropped("a subject has no box", ", ".join(subject.name for subject in item.subjects))
        kept: list[list[Frame]] = [[] for _ in boxes]
        masks = self.tracker.track(_pictures(item.frames, clip), boxes)
        for frame, seen in zip(item.frames, masks, strict=True):
            for subject, mask in zip(kept, seen, strict=True):
                subject.append(keep_mask(clip, frame.seconds, mask))
        subjects = (replace(one, masks=tuple(masks)) for one, masks in zip(item.subjects, kept, strict=True))
        return (replace(item, subjects=tuple(subjects)).with_made("tracks", {"model": self.tracker.name}),)


class LastWhole(Step):
    """Takes the pair of the first frame and the last in which all subjects are still well seen: the largest change.

    P4, section 9.3.1, step 4. The first frame must show all of them well, too.

    Args:
        least: Share of the frame that a subject's mask has, at least.
        most: And at most.
        border: Share of a mask's outline that lies on the border of the frame, at most: more is cut off.
    """

    def __init__(self, least: float = 0.02, most: float = 0.8, border: float = 0.25) -> None:
        self.least, self.most, self.border = least, most, border

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self._pair(item, clip) for item in items]

    def _pair(self, item: Item, clip: OpenClip) -> Outcome:
        first = self._fault(item, 0, clip)
        if first:
            return Dropped("a subject is not whole in the first frame", first)
        fault = "there is one frame"
        for last in reversed(range(1, len(item.frames))):
            fault = self._fault(item, last, clip)
            if not fault:
                return (_only(item, 0, last),)
        return Dropped("no later frame shows all subjects whole", fault)

    def _fault(self, item: Item, number: int, clip: OpenClip) -> str:
        """What is wrong with the subjects in a frame; empty if nothing is."""
        for subject in item.subjects:
            fault = self.fault(read_mask(clip, subject.masks[number]))
            if fault:
                return f"{subject.name} {fault} at {item.frames[number].seconds:.3f} s"
        return ""

    def fault(self, mask: Mask) -> str:
        """What is wrong with a mask; empty if nothing is."""
        share = float(mask.mean())
        if share == 0:
            return "is not seen"
        if share < self.least:
            return "is too small"
        if share > self.most:
            return "is too large"
        return "is cut off" if cut_off(mask) > self.border else ""


def cut_off(mask: Mask) -> float:
    """The share of a mask's outline that lies on the border of the picture, in [0, 1]."""
    wide = np.pad(mask, 1)
    inner = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    outline = mask & ~inner
    outline[1:-1, 1:-1], whole = False, int(outline.sum())
    return int(outline.sum()) / whole if whole else 0.0


def apart(found: Sequence[Found], overlap: float) -> list[Found]:
    """The surest first, less those that overlap with a surer one (non-maximum suppression)."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda one: (-one.score, one.box, one.name)):
        if all(shared(one.box, other.box) <= overlap for other in kept):
            kept.append(one)
    return kept


def shared(one: Box, other: Box) -> float:
    """Shared by united area of two boxes, in [0, 1]."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    both = _area((left, top, max(left, min(one[2], other[2])), max(top, min(one[3], other[3]))))
    union = _area(one) + _area(other) - both
    return both / union if union else 0.0


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _plain(box: Box) -> Box:
    """Without numbers of numpy, which JSON does not know."""
    left, top, right, bottom = box
    return float(left), float(top), float(right), float(bottom)


def _only(item: Item, *numbers: int) -> Item:
    """An item with some of its frames."""
    frames = tuple(item.frames[number] for number in numbers)
    subjects = (replace(one, masks=tuple(one.masks[number] for number in numbers)) for one in item.subjects)
    key = f"{item.key}, {' to '.join(f'{frame.seconds:.3f}' for frame in frames)}"
    return replace(item, key=key, frames=frames, subjects=tuple(subjects))


def _pictures(frames: Sequence[Frame], clip: OpenClip) -> Iterator[Pixels]:
    return (np.asarray(clip.read(frame)) for frame in frames)
