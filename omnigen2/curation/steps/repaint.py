"""Pictures painted anew: backgrounds around subjects, subjects taken away, regions filled.

What a filler gives is pasted into the frame, so that every pixel outside of its mask stays as it was filmed.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from typing_extensions import override

from omnigen2.curation import CurationError, Dropped, Frame, Item, OpenClip, Outcome, Resources, Step, Subject
from omnigen2.curation.models import Box, Filler, Mask, placed
from omnigen2.curation.steps.masks import (
    box_mask,
    box_of,
    frayed,
    grown,
    keep_made,
    keep_mask,
    read_mask,
    seed_of,
    seen_mask,
)
from omnigen2.curation.video import Pixels

WORKER = Resources(0.5, workers=1)
PLACES = (
    "on a sandy beach", "in a forest", "on a city street", "in a living room", "in a park in autumn", "on a snowy hill",
    "in a kitchen", "in a meadow of flowers", "at a lake", "in a studio before a plain wall", "in a library",
    "on a mountain path",
)  # fmt: skip


class Repainting(Step):
    """Paints parts of an item's pictures.

    Its pictures depend on its seed and on what is painted, not on the names of files or the order of clips.

    Args:
        filler: Such as FLUX.1-Fill-dev.
        seed: Other numbers give other pictures.
        resources: A worker holds the model.
    """

    elsewhere = ("resources",)

    def __init__(self, filler: Filler, seed: int, resources: Resources) -> None:
        self.filler, self.seed, self.resources = placed(filler, resources), seed, resources

    @override
    def check(self) -> None:
        self.filler.check()

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self.painted(item, clip) for item in items]

    @abstractmethod
    def painted(self, item: Item, clip: OpenClip) -> Outcome:
        """What becomes of one item."""

    def paint(
        self, frame: Frame, mask: Mask, prompt: str, what: str, clip: OpenClip
    ) -> tuple[Frame, Mapping[str, Any]]:
        """A picture with its mask filled, and what is to be known about it.

        Args:
            what: Tells such pictures from others in the names of files.
        """
        picture = np.asarray(clip.read(frame))
        seed = seed_of(self.seed, picture.tobytes(), mask.tobytes(), prompt)
        made = keep_made(clip, frame.seconds, self.filler.fill(picture, mask, prompt, seed), what)
        return made, {"model": self.filler.name, "seed": seed, "prompt": prompt}


class NewBackground(Repainting):
    """Gives each subject of the first frame a new background: that is a given picture; the last frame is the target.

    P4, section 9.3.1, step 6: FLUX.1-Fill-dev paints around the subject. Gives the frames reference 1, …, reference n,
    target, in the order of the subjects. The frame before it was painted stays in `made["background"]["base"]`.

    Args:
        filler: Such as FLUX.1-Fill-dev.
        places: Of which one, chosen by the seed, follows the subject's name in the prompt; none for no prompt.
        together: All subjects in one given picture, instead of one picture for each.
        fray: Depth of the uneven rim of a subject that is painted too, so that nothing of the old background stays, as
            a share of the longer side of the frame.
        seed: Other numbers give other pictures.
        resources: A worker holds the model.

    Raises:
        CurationError: If the rim is negative.
    """

    def __init__(
        self,
        filler: Filler,
        places: Sequence[str] = PLACES,
        together: bool = False,
        fray: float = 0.0,
        seed: int = 0,
        resources: Resources = WORKER,
    ) -> None:
        super().__init__(filler, seed, resources)
        if fray < 0:
            raise CurationError(f"NewBackground has fray {fray}", "give 0 or more")
        self.places, self.together, self.fray = tuple(places), together, fray

    @override
    def painted(self, item: Item, clip: OpenClip) -> Outcome:
        if not item.subjects or len(item.frames) < 2:
            return Dropped("there is nothing to paint around", f"{len(item.subjects)} subjects")
        base, target, subjects = item.frames[0], item.frames[-1], item.subjects
        seen = [frayed(seen_mask(clip, one, 0), self.fray, seed_of(self.seed, one.name)) for one in subjects]
        groups = [list(range(len(subjects)))] if self.together else [[number] for number in range(len(subjects))]
        references: list[Frame] = []
        told: list[Mapping[str, Any]] = []
        for group in groups:
            kept = np.logical_or.reduce([seen[number] for number in group])
            prompt = self._prompt(" and ".join(subjects[number].name for number in group), base, clip)
            reference, made = self.paint(base, ~kept, prompt, "background", clip)
            references.append(reference)
            told.append(made)
        nothing = keep_mask(clip, base.seconds, np.zeros_like(seen[0]))
        placed_in = [
            tuple(keep_mask(clip, base.seconds, seen[number]) if number in group else nothing for group in groups)
            for number in range(len(subjects))
        ]
        after = tuple(
            replace(one, box=one.box if number in groups[0] else None, masks=(*masks, one.masks[-1]))
            for number, (one, masks) in enumerate(zip(subjects, placed_in, strict=True))
        )
        item = item.with_made("background", {"base": asdict(base), "pictures": told})
        return (replace(item, frames=(*references, target), subjects=after),)

    def _prompt(self, names: str, base: Frame, clip: OpenClip) -> str:
        if not self.places:
            return ""
        picture = np.asarray(clip.read(base)).tobytes()
        return f"{names} {self.places[seed_of(self.seed, names, picture) % len(self.places)]}"


class EraseSubject(Repainting):
    """Takes the subjects out of the target: the picture without them becomes the input, before the target.

    P4, section 9.3.2. Gives the frames context 1, …, input, target.

    Args:
        filler: Such as FLUX.1-Fill-dev.
        grow: What is painted beside the masks, as a share of the longer side of the frame: shadows and soft borders.
        prompt: What is to be there.
        seed: Other numbers give other pictures.
        resources: A worker holds the model.

    Raises:
        CurationError: If `grow` is negative.
    """

    def __init__(
        self, filler: Filler, grow: float = 0.02, prompt: str = "", seed: int = 0, resources: Resources = WORKER
    ) -> None:
        super().__init__(filler, seed, resources)
        if grow < 0:
            raise CurationError(f"EraseSubject has grow {grow}", "give 0 or more")
        self.grow, self.prompt = grow, prompt

    @override
    def painted(self, item: Item, clip: OpenClip) -> Outcome:
        if not item.subjects:
            return Dropped("there is no subject to take out")
        target = item.frames[-1]
        covered = np.logical_or.reduce([seen_mask(clip, one, -1) for one in item.subjects])
        without, made = self.paint(target, grown(covered, self.grow), self.prompt, "erased", clip)
        nothing = keep_mask(clip, target.seconds, np.zeros_like(covered))
        subjects = (replace(one, masks=(*one.masks[:-1], nothing, one.masks[-1])) for one in item.subjects)
        item = item.with_made("erased", made)
        return (replace(item, frames=(*item.frames[:-1], without, target), subjects=tuple(subjects)),)


class FillRegion(Repainting):
    """Paints over one region of a picture without a prompt: the painted picture is the input, the original the target.

    P4, section 9.4.1, where regions are not told. Here each subject of the item is one, by its mask or its box; an item
    without names of subjects gives boxes at random. Each region is an item of its own.

    Args:
        filler: Such as FLUX.1-Fill-dev.
        grow: What is painted beside a region, as a share of the longer side of the picture.
        regions: Of a picture without subjects.
        least: Share of the picture that a region has, at least.
        most: And at most.
        seed: Other numbers give other regions and pictures.
        resources: A worker holds the model.

    Raises:
        CurationError: If a number is out of range.
    """

    def __init__(
        self,
        filler: Filler,
        grow: float = 0.02,
        regions: int = 1,
        least: float = 0.05,
        most: float = 0.5,
        seed: int = 0,
        resources: Resources = WORKER,
    ) -> None:
        super().__init__(filler, seed, resources)
        if grow < 0 or regions < 1 or not 0 < least <= most <= 1:
            raise CurationError(
                f"FillRegion has grow {grow}, regions {regions}, least {least} and most {most}",
                "give no negative grow, at least 1 region, and 0 < least <= most <= 1",
            )
        self.grow, self.regions, self.least, self.most = grow, regions, least, most

    @override
    def painted(self, item: Item, clip: OpenClip) -> Outcome:
        original = item.frames[-1]
        picture = np.asarray(clip.read(original))
        regions = self._regions(item, picture, clip)
        right = {name: region for name, region in regions.items() if self.least <= region.mean() <= self.most}
        left_out = [name for name in regions if name not in right]
        made: list[Item] = []
        for name, region in right.items():
            filled, told = self.paint(original, region, "", "filled", clip)
            told = {**told, "region": box_of(region), "left_out": left_out}
            key = f"{item.key}, without {name}"
            made.append(replace(item, key=key, frames=(filled, original), subjects=()).with_made("filled", told))
        return made or Dropped("no region of the right size", ", ".join(left_out))

    def _regions(self, item: Item, picture: Pixels, clip: OpenClip) -> Mapping[str, Mask]:
        height, width = picture.shape[:2]
        if item.subjects:
            return {one.name: grown(_area_of(one, height, width, clip), self.grow) for one in item.subjects}
        rng = np.random.default_rng(seed_of(self.seed, picture.tobytes()))
        boxes = [_random_box(rng, height, width, self.least, self.most) for _ in range(self.regions)]
        return {f"region {number}": box_mask(box, height, width) for number, box in enumerate(boxes)}


def _area_of(subject: Subject, height: int, width: int, clip: OpenClip) -> Mask:
    """Where a subject is: its mask, or else its box.

    Raises:
        CurationError: If it has neither.
    """
    if subject.masks:
        return read_mask(clip, subject.masks[-1])
    if subject.box is None:
        raise CurationError(f"there is no box of {subject.name!r}", "put FindSubjects before")
    return box_mask(subject.box, height, width)


def _random_box(rng: np.random.Generator, height: int, width: int, least: float, most: float) -> Box:
    """A box with a share of the picture within limits, as far as whole pixels allow, of at most twice its shape."""
    share, shape = rng.uniform(least, most), 2 ** rng.uniform(-1, 1)
    across = min(1.0, max(share, float(np.sqrt(share * shape))))
    wide, high = max(1, round(width * across)), max(1, round(height * share / across))
    left, top = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
    return (left, top, left + wide, top + high)
