"""A vision-language model judges: is it still the same thing, and is the example good?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from typing_extensions import override

from omnigen2.curation import CurationError, Dropped, Item, Limiting, OpenClip, Outcome, Subject
from omnigen2.curation.steps.chat import ChatStep, Content, Server, answer_schema
from omnigen2.curation.steps.masks import box_of, seen_mask
from omnigen2.pictures import Picture, shrink, to_pixels

SAME = """\
You check a program that follows things through a video. You are shown what it has cut out of an earlier and of a later
frame, and the name of the thing. Set "same" to true only if both show one and the same thing: the same person, the same
animal, the same object, whatever its pose, size and light. Two things that look alike are not the same: compare marks,
clothes, patterns and colours. Set it to false too if one of them does not show the thing of that name, or you cannot
tell. Say why in "reason" first."""
GOOD = """\
You check examples for a model that draws a given subject in a new picture. You are shown the given picture and the new
picture. Grade three things with whole numbers from 0 (useless) to 10 (faultless). "composition": both pictures are
whole and plausible scenes, and the subject is well seen in each. "consistency": the subject is the same in both, in all
that tells it from others of its kind. "quality": both pictures are sharp, natural and free of seams, smears and things
that cannot be. Say in "reason" first what is wrong."""
SCORES = ("composition", "consistency", "quality")


class JudgeTracks(ChatStep):
    """Takes subjects away that are another thing in the last frame than in the first; drops items without any left.

    P4, section 9.3.1, step 5: a vision-language model sorts out tracks that went over to something that looks alike. It
    sees what the masks cut out of both frames, with some of what is around.

    Args:
        server: That is asked.
        margin: What is around, as a share of the longer side of what is cut out.
        system: What the model is told.
    """

    name = "same_thing"
    schema = answer_schema(reason="string", same="boolean")

    def __init__(self, server: Server, margin: float = 0.15, system: str = SAME) -> None:
        super().__init__(server, system)
        if margin < 0:
            raise CurationError(f"JudgeTracks has margin {margin}", "give 0 or more")
        self.margin = margin

    @override
    def questions(self, item: Item, clip: OpenClip) -> Sequence[Content]:
        return [
            (
                f"Name: {subject.name}\nEarlier:",
                self._cut(item, subject, 0, clip),
                "Later:",
                self._cut(item, subject, -1, clip),
            )
            for subject in item.subjects
        ]

    @override
    def outcome(self, item: Item, answers: Sequence[Mapping[str, Any]], clip: OpenClip) -> Outcome | None:
        same: list[Subject] = []
        others: list[Subject] = []
        for subject, answer in zip(item.subjects, answers, strict=True):
            match answer:
                case {"same": bool(is_same)}:
                    (same if is_same else others).append(subject)
                case _:
                    return None
        told = {**item.made[self.name], "others": [subject.name for subject in others]}
        item = replace(item, subjects=tuple(same)).with_made(self.name, told)
        return (item,) if same else Dropped("another thing was followed", item=item)

    def _cut(self, item: Item, subject: Subject, number: int, clip: OpenClip) -> Picture:
        """What a mask cuts out of one of the frames."""
        box = box_of(seen_mask(clip, subject, number), self.margin)
        return shrink(to_pixels(clip.read(item.frames[number]).crop(box)), self.server.image_side)


class JudgeKept(ChatStep, Limiting):
    """Grades each given picture beside the target, and drops items with a grade below its limit.

    P4, section 9.3.1, step 7: Qwen2.5-VL-7B looks at quality and consistency. Scores `composition`, `consistency` and
    `quality`, whole numbers from 0 to 10: of several given pictures, the lowest. The limits are those that users of
    Subjects200K put on its three scores.

    Args:
        server: That is asked.
        composition: Least of its score.
        consistency: Least of its score.
        quality: Least of its score.
        system: What the model is told.
    """

    name = "judge"
    schema = answer_schema(reason="string", **dict.fromkeys(SCORES, "integer"))
    reasons = {
        "composition.least": "the judge finds the composition too poor",
        "consistency.least": "the judge finds another subject",
        "quality.least": "the judge finds the quality too poor",
    }

    def __init__(
        self,
        server: Server,
        composition: float = 5,
        consistency: float = 5,
        quality: float = 5,
        system: str = GOOD,
    ) -> None:
        super().__init__(server, system)
        self.composition, self.consistency, self.quality = composition, consistency, quality

    @property
    @override
    def limits(self) -> Mapping[str, float]:
        least = (self.composition, self.consistency, self.quality)
        return {f"{score}.least": value for score, value in zip(SCORES, least, strict=True)}

    @override
    def questions(self, item: Item, clip: OpenClip) -> Sequence[Content]:
        *given, target = (self.shown(frame, clip) for frame in item.frames)
        return [("Given picture:", picture, "New picture:", target) for picture in given]

    @override
    def outcome(self, item: Item, answers: Sequence[Mapping[str, Any]], clip: OpenClip) -> Outcome | None:
        scores: dict[str, float] = {}
        for score in SCORES:
            grades: list[Any] = [answer.get(score) for answer in answers]
            if not all(type(grade) is int and 0 <= grade <= 10 for grade in grades):
                return None
            scores[score] = float(min(grades))
        return self.decide(item.scored(scores))
