"""The micro-world's rewards: the five tasks of the paper's RL ablation, judged by rules and without any model.

Edit, GenEval, in-context and letters (OCR) are honest: they read the picture. The preference score is not: it stands
for a learned one (HPSv3) and can be hacked. Each honest one reads its task from the request's `meta`, where
`to_sample` has put it.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, TypeAlias, TypeVar

from typing_extensions import override

from omnigen2.errors import check_choice
from omnigen2.microworld.tasks.caption import Caption
from omnigen2.microworld.tasks.context import ContextTask
from omnigen2.microworld.tasks.edit import EditTask
from omnigen2.microworld.tasks.preference import looks_nice
from omnigen2.microworld.tasks.record import NAMES, Task, from_json
from omnigen2.microworld.tasks.specification import Verdict
from omnigen2.microworld.tasks.tasks import DrawingTask
from omnigen2.microworld.tasks.verify import verify
from omnigen2.microworld.world import TOLERANCE, GlyphTask, glyph_score, read, read_glyphs
from omnigen2.rl import Failure, Judgement, Outcome, Reward, RewardError, RewardRequest, Scores, unusable_picture

Grading: TypeAlias = Literal["graded", "strict"]
"""The share of clauses that are met, or 1 only if all are."""
SomeTask = TypeVar("SomeTask", bound=Task)


class MicroReward(Reward):
    """A reward in [0, 1] of one picture at a time. A picture that is not square and finite is invalid."""

    low, high = 0.0, 1.0

    @abstractmethod
    def judge(self, request: RewardRequest) -> Judgement:
        """Score one finite, square picture: with all `part_names`, and what is missing in words."""

    @override
    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        return Scores.collect([self._outcome(request) for request in requests], self.part_names)

    def _outcome(self, request: RewardRequest) -> Outcome:
        height, width = request.image.shape[1:]
        if height != width:
            return Failure("bad picture", f"the micro-world is square, got {height} × {width} pixels")
        return unusable_picture(request) or self.judge(request)


class VerifiedReward(MicroReward):
    """A reward of a verdict by rules: the share of clauses that are met, or the geometric mean of two such shares.

    Args:
        tolerance: Of the reader, see `read`; higher also reads what a small model has drawn badly.
    """

    kind: type[DrawingTask]

    def __init__(self, tolerance: float = TOLERANCE) -> None:
        self.tolerance = tolerance

    @override
    def judge(self, request: RewardRequest) -> Judgement:
        verdict = verify(task_of(request, self.kind), read(request.image, tolerance=self.tolerance))
        if isinstance(verdict, Verdict):
            parts = {"graded": verdict.graded, "strict": float(verdict.exact)}
        else:
            parts = {name: part.graded for name, part in verdict.parts.items()}
        reason = f"missing: {', '.join(verdict.unmet)}" if verdict.unmet else ""
        return Judgement(verdict.graded, parts, reason)


class MicroEditReward(VerifiedReward):
    """The part of EditScore: the edit was done (`success`), and nothing else (`preservation`)."""

    description = "micro-world edit: geometric mean of success and preservation"
    part_names = ("success", "preservation")
    kind = EditTask


class MicroContextReward(VerifiedReward):
    """The part of OmniContext's judge: `subjects` are those of the references, and the instruction is followed.

    The part of the latter is `following`.
    """

    description = "micro-world in-context: geometric mean of subjects and following"
    part_names = ("subjects", "following")
    kind = ContextTask


class MicroGenEvalReward(VerifiedReward):
    """The part of GenEval: the caption is true.

    Args:
        grading: Which of the two parts, `graded` and `strict`, is the reward.
    """

    description = "micro-world GenEval: clauses of the caption that are met"
    part_names = ("graded", "strict")
    kind = Caption

    def __init__(self, grading: Grading = "graded", tolerance: float = TOLERANCE) -> None:
        check_choice("the grading of MicroGenEvalReward", grading, Grading)
        super().__init__(tolerance)
        self.grading: Grading = grading

    @override
    def judge(self, request: RewardRequest) -> Judgement:
        found = super().judge(request)
        return Judgement(found.parts[self.grading], found.parts, found.reason)


class MicroGlyphReward(MicroReward):
    """The part of the OCR reward: the letters can be read. `value` is 1 minus the relative edit distance."""

    description = "micro-world letters: 1 minus the relative edit distance of what is read"

    @override
    def judge(self, request: RewardRequest) -> Judgement:
        text = task_of(request, GlyphTask).text
        value = glyph_score(text, request.image)
        return Judgement(value, reason="" if value == 1 else f"read {read_glyphs(request.image)!r}, not {text!r}")


class MicroPreferenceReward(MicroReward):
    """The part of HPSv3, a preference that can be hacked: strong colours and edges, whatever was asked for.

    It does not look at the task. Never use it to judge quality.
    """

    description = "micro-world preference: vivid colours and strong edges alone; can be hacked"

    @override
    def judge(self, request: RewardRequest) -> Judgement:
        return Judgement(looks_nice(request.image))


def task_of(request: RewardRequest, kind: type[SomeTask]) -> SomeTask:
    """The task that a request's `meta` holds, as `to_json` writes it.

    Raises:
        RewardError: If there is none, or one of another kind: then the reward does not fit the data.
    """
    try:
        task = from_json(request.meta)
    except ValueError as error:
        raise RewardError(
            f"{request.key} has no micro-world task in its meta text ({error})", "use samples made by to_sample"
        ) from error
    if not isinstance(task, kind):
        raise RewardError(
            f"{request.key} is a task of kind {NAMES[type(task)]!r}, this reward is for {NAMES[kind]!r}",
            "use the reward that fits the data",
        )
    return task
