"""The benchmarks in miniature: GenEval, edits and OmniContext on drawn scenes, judged by rules instead of a model.

    scores = micro_scores(tasks, pictures)
    print(scores.table())

The same metrics as for the published benchmarks, so their whole path runs offline. It is for checking machinery and
trends, and no claim about real pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.evaluation.metrics import EditBench
from omnigen2.evaluation.metrics import GenEval
from omnigen2.evaluation.metrics import GroupedMean, Share
from omnigen2.evaluation.metrics import SUBTASKS, OmniContext
from omnigen2.evaluation.metrics import Summary
from omnigen2.microworld.tasks import Caption
from omnigen2.microworld.tasks import ContextKind, ContextTask
from omnigen2.microworld.tasks import EDIT_KINDS, EditTask
from omnigen2.microworld.world import TOLERANCE
from omnigen2.microworld.world import read
from omnigen2.microworld.tasks import verify_caption, verify_context, verify_edit

MicroTask = Caption | EditTask | ContextTask
Picture = Float[Tensor, "3 size size"]


@dataclass(frozen=True, slots=True)
class MicroJudgement:
    """What the rules say about one picture.

    Attributes:
        group: GenEval's tag, the kind of the edit, or OmniContext's subtask.
        scores: By name. Captions: `correct` and `graded` in [0, 1]. Edits: `success` and `preservation` in [0, 10].
            In-context: `prompt_following` and `subject_consistency` in [0, 10].
        exact: Whether nothing is wrong.
        unmet: What is wrong, in words.
    """

    group: str
    scores: Mapping[str, float]
    exact: bool
    unmet: tuple[str, ...]


@dataclass(frozen=True)
class MicroScores:
    """Scores of a list of tasks and pictures, by kind.

    Attributes:
        metrics: The metrics by name, those that got a task: `geneval`, `geneval_graded`, `edit`, `edit_exact`,
            `omnicontext`, `omnicontext_exact`.
    """

    metrics: Mapping[str, GroupedMean]

    @cached_property
    def summaries(self) -> dict[str, Summary]:
        """The tables of the metrics."""
        return {name: metric.summary() for name, metric in self.metrics.items()}

    def __getitem__(self, name: str) -> Summary:
        """The table of one metric."""
        return self.summaries[name]

    def values(self) -> dict[str, float]:
        """Every number by name, such as `geneval/counting/correct`; for loggers."""
        return {
            f"{name}/{line.name}/{column}": value
            for name, summary in self.summaries.items()
            for line in summary.lines
            if line.total
            for column, value in line.values.items()
        }

    def table(self) -> str:
        """Markdown: one section for each metric."""
        parts = (f"**Micro-world {summary.title}**\n\n{summary.table()}" for summary in self.summaries.values())
        return "\n\n".join(parts)


def micro_judge(task: MicroTask, picture: Picture, tolerance: float = TOLERANCE) -> MicroJudgement:
    """Judge one picture by rules.

    Args:
        task: What was asked for.
        picture: In [-1, 1], shape (3, size, size).
        tolerance: Of the reader: the largest error of an item that is still recognised; higher is milder.

    Returns:
        The scores.
    """
    reading = read(picture, tolerance=tolerance)
    match task:
        case Caption():
            verdict = verify_caption(task.specification, reading)
            scores = {"correct": float(verdict.exact), "graded": verdict.graded}
            return MicroJudgement(group_of(task), scores, verdict.exact, verdict.unmet)
        case EditTask():
            edit = verify_edit(task, reading)
            scores = {"success": 10 * edit.success.graded, "preservation": 10 * edit.preservation.graded}
            return MicroJudgement(group_of(task), scores, edit.exact, edit.success.unmet + edit.preservation.unmet)
        case ContextTask():
            found = verify_context(task, reading)
            scores = {
                "prompt_following": 10 * found.following.graded,
                "subject_consistency": 10 * found.subjects.graded,
            }
            return MicroJudgement(group_of(task), scores, found.exact, found.following.unmet + found.subjects.unmet)
        case _:
            assert_never(task)


def micro_scores(tasks: Sequence[MicroTask], pictures: Sequence[Picture], tolerance: float = TOLERANCE) -> MicroScores:
    """Judge pictures by rules and average as the benchmarks do.

    Args:
        tasks: What was asked for, of any kinds.
        pictures: What was drawn, one for each task, in [-1, 1].
        tolerance: Of the reader; see `micro_judge`.

    Returns:
        GenEval by tag, exact and graded; success (as SC) and preservation (as PQ) by kind of edit; prompt following
        and subject consistency by OmniContext's subtasks; and the shares of pictures where nothing is wrong.

    Raises:
        ValueError: If there are not as many pictures as tasks.
    """
    if len(tasks) != len(pictures):
        raise ValueError(f"got {len(tasks)} tasks and {len(pictures)} pictures; give one picture for each task")
    return aggregate(
        [(type(task), micro_judge(task, picture, tolerance)) for task, picture in zip(tasks, pictures, strict=True)]
    )


def aggregate(judgements: Sequence[tuple[type[MicroTask], MicroJudgement]]) -> MicroScores:
    """Average judgements as the benchmarks do; nothing is exchanged with other processes.

    Args:
        judgements: With the type of each task.

    Returns:
        See `micro_scores`.
    """
    captions, edits, contexts = (
        [judgement for kind, judgement in judgements if kind is wanted] for wanted in (Caption, EditTask, ContextTask)
    )
    metrics: dict[str, GroupedMean] = {}
    if captions:
        metrics["geneval"], metrics["geneval_graded"] = strict, graded = GenEval(), GenEval(graded=True)
        strict.update(_groups(captions), _column(captions, "correct"))
        graded.update(_groups(captions), _column(captions, "graded"))
    if edits:
        metrics["edit"] = edit = micro_edit_bench()
        languages = ["en"] * len(edits)
        edit.update(_groups(edits), languages, _column(edits, "success"), _column(edits, "preservation"))
        metrics["edit_exact"] = _exact("edits without a fault", EDIT_KINDS, edits)
    if contexts:
        metrics["omnicontext"] = context = OmniContext()
        following, consistency = (_column(contexts, name) for name in ("prompt_following", "subject_consistency"))
        context.update(_groups(contexts), following, consistency)
        metrics["omnicontext_exact"] = _exact("in-context pictures without a fault", SUBTASKS, contexts)
    for metric in metrics.values():
        metric.distributed_available_fn = _alone
    return MicroScores(metrics)


def micro_edit_bench() -> EditBench:
    """The edit benchmark with the micro-world's kinds; SC stands for success, PQ for preservation."""
    return EditBench("edits (SC: success, PQ: preservation)", EDIT_KINDS, ("en",))


def group_of(task: MicroTask) -> str:
    """What a task's scores are averaged with.

    Args:
        task: Any of the three kinds.

    Returns:
        GenEval's tag, the kind of the edit, or OmniContext's subtask.
    """
    match task:
        case Caption():
            return task.specification.tag
        case EditTask():
            return task.kind
        case ContextTask():
            return subtask(task.kind)
        case _:
            assert_never(task)


def subtask(kind: ContextKind) -> str:
    """OmniContext's name of a kind: `multiple_object` is `multi_object` in the published data.

    Args:
        kind: The micro-world's.

    Returns:
        One of `omnicontext.SUBTASKS`.
    """
    return kind.replace("multiple_", "multi_")


def _alone() -> bool:
    return False


def _exact(title: str, groups: Sequence[str], judgements: Sequence[MicroJudgement]) -> GroupedMean:
    metric = Share(title, groups, "exact")
    metric.update(_groups(judgements), torch.tensor([float(judgement.exact) for judgement in judgements]))
    return metric


def _groups(judgements: Sequence[MicroJudgement]) -> list[str]:
    return [judgement.group for judgement in judgements]


def _column(judgements: Sequence[MicroJudgement], name: str) -> Float[Tensor, " samples"]:
    return torch.tensor([judgement.scores[name] for judgement in judgements], dtype=torch.float64)
