"""The micro-world's rewards: the five tasks of the paper's RL ablation, judged by rules and without any model.

Edit, GenEval, in-context and letters (OCR) are honest: they read the picture. The preference score is not: it stands
for a learned one (HPSv3) and can be hacked. Each honest one reads its task from the request's `meta`, where
`to_sample` has put it.
"""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, TypeAlias, TypeVar, assert_never

from omnigen2.microworld.tasks.caption import Caption
from omnigen2.microworld.tasks.context import ContextTask
from omnigen2.microworld.tasks.edit import EditTask
from omnigen2.microworld.tasks.preference import looks_nice
from omnigen2.microworld.tasks.record import NAMES, Task, from_json
from omnigen2.microworld.tasks.specification import Verdict
from omnigen2.microworld.tasks.verify import verify_caption, verify_context, verify_edit
from omnigen2.microworld.world import TOLERANCE, GlyphTask, Reading, glyph_score, read, read_glyphs
from omnigen2.rl import Failure, Judgement, Outcome, Reward, RewardError, RewardRequest, Scores, unusable_picture

Grading: TypeAlias = Literal["graded", "strict"]
"""The share of clauses that are met, or 1 only if all are."""
SomeTask = TypeVar("SomeTask", bound=Task)


class MicroReward(Reward):
    """A reward in [0, 1] of one picture at a time. A picture that is not square and finite is invalid."""

    low, high = 0.0, 1.0

    @abstractmethod
    def judge(self, request: RewardRequest) -> Judgement:
        """Score one picture.

        Args:
            request: With a finite, square picture.

        Returns:
            The reward with all `part_names`, and what is missing in words.
        """

    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        """Score each picture.

        Args:
            requests: The pictures and their tasks.

        Returns:
            One entry per request.
        """
        return Scores.collect([self._outcome(request) for request in requests], self.part_names)

    def _outcome(self, request: RewardRequest) -> Outcome:
        height, width = request.image.shape[1:]
        if height != width:
            return Failure("bad picture", f"the micro-world is square, got {height} × {width} pixels")
        return unusable_picture(request) or self.judge(request)


class MicroEditReward(MicroReward):
    """The part of EditScore: the edit was done, and nothing else.

    `value` is the geometric mean of both parts, `success` and `preservation`, each the share of clauses that are met.

    Args:
        tolerance: Of the reader, see `read`; higher also reads what a small model has drawn badly.
    """

    description = "micro-world edit: geometric mean of success and preservation"
    part_names = ("success", "preservation")

    def __init__(self, tolerance: float = TOLERANCE) -> None:
        self.tolerance = tolerance

    def judge(self, request: RewardRequest) -> Judgement:
        """Check the edit.

        Args:
            request: Of an edit task.
        """
        verdict = verify_edit(task_of(request, EditTask), _reading(request, self.tolerance))
        parts = {"success": verdict.success.graded, "preservation": verdict.preservation.graded}
        return Judgement(verdict.graded, parts, _missing(verdict.success, verdict.preservation))


class MicroGenEvalReward(MicroReward):
    """The part of GenEval: the caption is true.

    Args:
        grading: Which of the two parts, `graded` and `strict`, is the reward.
        tolerance: Of the reader, see `read`.
    """

    description = "micro-world GenEval: clauses of the caption that are met"
    part_names = ("graded", "strict")

    def __init__(self, grading: Grading = "graded", tolerance: float = TOLERANCE) -> None:
        self.grading: Grading = grading
        self.tolerance = tolerance

    def judge(self, request: RewardRequest) -> Judgement:
        """Check the caption.

        Args:
            request: Of a caption.
        """
        specification = task_of(request, Caption).specification
        verdict = verify_caption(specification, _reading(request, self.tolerance))
        parts = {"graded": verdict.graded, "strict": float(verdict.exact)}
        match self.grading:
            case "graded" | "strict":
                return Judgement(parts[self.grading], parts, _missing(verdict))
            case _:
                assert_never(self.grading)


class MicroContextReward(MicroReward):
    """The part of OmniContext's judge: subjects are those of the references, and the instruction is followed.

    `value` is the geometric mean of both parts, `subjects` and `following`, each the share of clauses that are met.

    Args:
        tolerance: Of the reader, see `read`.
    """

    description = "micro-world in-context: geometric mean of subjects and following"
    part_names = ("subjects", "following")

    def __init__(self, tolerance: float = TOLERANCE) -> None:
        self.tolerance = tolerance

    def judge(self, request: RewardRequest) -> Judgement:
        """Check subjects and instruction.

        Args:
            request: Of an in-context task.
        """
        verdict = verify_context(task_of(request, ContextTask), _reading(request, self.tolerance))
        parts = {"subjects": verdict.subjects.graded, "following": verdict.following.graded}
        return Judgement(verdict.graded, parts, _missing(verdict.subjects, verdict.following))


class MicroGlyphReward(MicroReward):
    """The part of the OCR reward: the letters can be read. `value` is 1 minus the relative edit distance."""

    description = "micro-world letters: 1 minus the relative edit distance of what is read"

    def judge(self, request: RewardRequest) -> Judgement:
        """Read the letters.

        Args:
            request: Of a text-rendering task.
        """
        text = task_of(request, GlyphTask).text
        value = glyph_score(text, request.image)
        return Judgement(value, reason="" if value == 1 else f"read {read_glyphs(request.image)!r}, not {text!r}")


class MicroPreferenceReward(MicroReward):
    """The part of HPSv3, a preference that can be hacked: strong colours and edges, whatever was asked for.

    It does not look at the task. Never use it to judge quality.
    """

    description = "micro-world preference: vivid colours and strong edges alone; can be hacked"

    def judge(self, request: RewardRequest) -> Judgement:
        """Look at colours and edges.

        Args:
            request: Of any task.
        """
        return Judgement(looks_nice(request.image))


def task_of(request: RewardRequest, kind: type[SomeTask]) -> SomeTask:
    """The task of a request.

    Args:
        request: Its `meta` holds the task, as `to_json` writes it.
        kind: Which task is expected.

    Returns:
        The task.

    Raises:
        RewardError: If there is none, or one of another kind: then the reward does not fit the data.
    """
    try:
        task = from_json(request.meta)
    except ValueError as error:
        raise RewardError(
            f"{request.key} has no micro-world task in its meta text ({error}); use samples made by to_sample"
        ) from error
    if not isinstance(task, kind):
        raise RewardError(
            f"{request.key} is a task of kind {NAMES[type(task)]!r}, this reward is for {NAMES[kind]!r}; use the "
            "reward that fits the data"
        )
    return task


def _reading(request: RewardRequest, tolerance: float) -> Reading:
    return read(request.image, tolerance=tolerance)


def _missing(*verdicts: Verdict) -> str:
    unmet = [text for verdict in verdicts for text in verdict.unmet]
    return f"missing: {', '.join(unmet)}" if unmet else ""
