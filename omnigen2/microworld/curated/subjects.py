"""The world's reader in the place of a vision-language model: it names subjects and judges what became of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from typing_extensions import override

from omnigen2.curation import CurationError, Dropped, Item, OpenClip, Outcome, Scoring, Step, Subject
from omnigen2.curation.steps import read_mask
from omnigen2.microworld.curated.chance import chance, check_shares
from omnigen2.microworld.curated.sight import at_mask, name_of, reading
from omnigen2.microworld.video import VocabularyName, vocabulary_named
from omnigen2.microworld.world import Reading, sample_scene

GOOD, BAD = 10.0, 0.0


class MicroNames(Step):
    """Names the largest things of the first frame, in place of `omnigen2.curation.steps.NameSubjects`.

    Args:
        most: Subjects of an item.
        wrong: The share of names that are those of something else.
        vocabulary: Of those.
        seed: Of which ones.
    """

    def __init__(self, most: int = 2, wrong: float = 0.0, vocabulary: VocabularyName = "full", seed: int = 0) -> None:
        check_shares(self, {"wrong": wrong})
        if most < 1:
            raise CurationError(f"MicroNames has most {most}", "give at least 1")
        self.most, self.wrong, self.seed = most, wrong, seed
        self._known = vocabulary_named(vocabulary, 64)

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self._named(item, clip) for item in items]

    def _named(self, item: Item, clip: OpenClip) -> Outcome:
        things = sorted(reading(clip.read(item.frames[0])).items, key=lambda thing: -thing.radius)
        names: list[str] = []
        for thing in things[: self.most]:
            name = name_of(thing)
            rng = chance(self.seed, clip.file.name, item.key, name)
            if rng.random() < self.wrong:
                name = name_of(sample_scene(self._known, rng, count=1).items[0])
            names.append(name)
        subjects = tuple(map(Subject, dict.fromkeys(names)))
        return (replace(item, subjects=subjects),) if subjects else Dropped("no subject is named")


class MicroSameThing(Step):
    """Takes subjects away that are not the same thing in both frames, in place of `JudgeTracks`.

    What it said of each, and of which box and masks, stands in `made["same_thing"]`.

    Args:
        wrong: The share of verdicts that say the opposite.
        seed: Of which ones.
    """

    def __init__(self, wrong: float = 0.0, seed: int = 0) -> None:
        check_shares(self, {"wrong": wrong})
        self.wrong, self.seed = wrong, seed

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self._judged(item, clip) for item in items]

    def _judged(self, item: Item, clip: OpenClip) -> Outcome:
        seen = [reading(clip.read(frame)) for frame in (item.frames[0], item.frames[-1])]
        verdicts: list[bool] = []
        for subject in item.subjects:
            same = _is_same(subject, seen, clip)
            verdicts.append(same != (chance(self.seed, clip.file.name, item.key, subject.name).random() < self.wrong))
        left = tuple(subject for subject, same in zip(item.subjects, verdicts, strict=True) if same)
        said = [
            {"name": one.name, "box": one.box, "masks": [one.masks[0].picture, one.masks[-1].picture], "same": same}
            for one, same in zip(item.subjects, verdicts, strict=True)
        ]
        item = item.with_made("same_thing", said)
        return (replace(item, subjects=left),) if left else Dropped("another thing was followed", item=item)


class MicroJudge(Scoring):
    """Grades given pictures beside the target, in place of `JudgeKept`: 10 or 0 for each of its three scores.

    `composition`: each given picture has one thing on a background of the world. `consistency`: the thing of each given
    picture is in the target. `quality`: there is nothing in the pictures that cannot be read.

    Args:
        wrong: The share of items whose grades are all turned round.
        seed: Of which ones.
        composition: Least of its score.
        consistency: Least of its score.
        quality: Least of its score.
    """

    reasons = {
        "composition.least": "the judge finds the composition too poor",
        "consistency.least": "the judge finds another subject",
        "quality.least": "the judge finds the quality too poor",
    }

    def __init__(
        self, wrong: float = 0.0, seed: int = 0, composition: float = 5, consistency: float = 5, quality: float = 5
    ) -> None:
        check_shares(self, {"wrong": wrong})
        self.wrong, self.seed = wrong, seed
        self.composition, self.consistency, self.quality = composition, consistency, quality

    @property
    @override
    def limits(self) -> Mapping[str, float]:
        return {
            "composition.least": self.composition,
            "consistency.least": self.consistency,
            "quality.least": self.quality,
        }

    @override
    def score(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Mapping[str, float]]:
        return [self._graded(item, clip) for item in items]

    def _graded(self, item: Item, clip: OpenClip) -> Mapping[str, float]:
        *given, target = (reading(clip.read(frame)) for frame in item.frames)
        alone = [one for one in given if len(one.items) == 1]
        there = {name_of(thing) for thing in target.items}
        good = {
            "composition": len(alone) == len(given) and all(one.background for one in given),
            "consistency": all(name_of(thing) in there for one in given for thing in one.items),
            "quality": not any(one.unknown for one in (*given, target)),
        }
        turned = chance(self.seed, clip.file.name, item.key).random() < self.wrong
        if turned:
            good = dict.fromkeys(good, not all(good.values()))
        return {score: GOOD if value else BAD for score, value in good.items()}


def _is_same(subject: Subject, seen: Sequence[Reading], clip: OpenClip) -> bool:
    """Whether what the masks are on has the subject's name in both frames."""
    masks = [read_mask(clip, subject.masks[place]) for place in (0, -1)]
    things = [at_mask(one.items, mask) for one, mask in zip(seen, masks, strict=True)]
    return all(thing is not None and name_of(thing) == subject.name for thing in things)
