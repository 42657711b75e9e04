"""The benchmarks in miniature: GenEval, edits and OmniContext on drawn scenes, judged by rules instead of a model.

    scores = micro_scores(tasks, pictures)
    print(scores.table())

The same metrics as for the published benchmarks, so their whole path runs offline. It is for checking machinery and
trends, and no claim about real pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.evaluation.metrics import SUBTASKS, EditBench, GenEval, GroupedMean, OmniContext, Share, Summary
from omnigen2.microworld.tasks import EDIT_KINDS, FAMILIES, DrawingTask, Family, Verdict, verify
from omnigen2.microworld.world import TOLERANCE, read
from omnigen2.rl import Judgement, Picture

NAMES = {"subjects": "subject_consistency", "following": "prompt_following"}
"""What OmniContext calls the parts of a verdict."""
EXACT: Mapping[Family, tuple[str, str]] = {
    "text_to_image": ("geneval", "correct"),
    "edit": ("edit_exact", "exact"),
    "in_context": ("omnicontext_exact", "exact"),
}
"""The metric of each family, and its column, that is the share of pictures without a fault."""


class Judged(NamedTuple):
    """A task, what was drawn for it in [-1, 1], shape (3, size, size), and what the rules say."""

    task: DrawingTask
    picture: Picture
    judgement: Judgement

    @property
    def exact(self) -> bool:
        """Whether nothing is wrong."""
        return self.judgement.value == 1


@dataclass(frozen=True)
class MicroScores:
    """Scores of tasks and pictures by kind: metrics by name, `EXACT`'s and `geneval_graded`, `edit`, `omnicontext`."""

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

    def headline(self) -> dict[str, float]:
        """The shares without a fault over all kinds of each family, by metric; see `EXACT`."""
        return {name: self[name].result.values[column] for name, column in EXACT.values() if name in self.metrics}

    def table(self) -> str:
        """Markdown: one section for each metric."""
        parts = (f"**Micro-world {summary.title}**\n\n{summary.table()}" for summary in self.summaries.values())
        return "\n\n".join(parts)


def micro_judge(task: DrawingTask, picture: Picture, tolerance: float = TOLERANCE) -> Judgement:
    """Judge one picture by rules.

    Args:
        picture: In [-1, 1], shape (3, size, size).
        tolerance: Of the reader: the largest error of an item that is still recognised; higher is milder.

    Returns:
        1 if nothing is wrong and 0 otherwise, and in words what is. The parts are those that the benchmark's judges
        give: of captions `correct` and `graded` in [0, 1], of edits `success` and `preservation` in [0, 10], of
        in-context tasks `prompt_following` and `subject_consistency` in [0, 10].
    """
    verdict = verify(task, read(picture, tolerance=tolerance))
    exact = float(verdict.exact)
    if isinstance(verdict, Verdict):
        parts = {"correct": exact, "graded": verdict.graded}
    else:
        parts = {NAMES.get(name, name): 10 * part.graded for name, part in verdict.parts.items()}
    return Judgement(exact, parts, "; ".join(verdict.unmet))


def micro_scores(
    tasks: Sequence[DrawingTask], pictures: Sequence[Picture], tolerance: float = TOLERANCE
) -> MicroScores:
    """Judge one picture for each task by rules, see `micro_judge`, and average as the benchmarks do, see `aggregate`.

    Raises:
        ValueError: If there are not as many pictures as tasks.
    """
    if len(tasks) != len(pictures):
        raise ValueError(f"got {len(tasks)} tasks and {len(pictures)} pictures; give one picture for each task")
    return aggregate(judge_all(tasks, pictures, tolerance))


def judge_all(tasks: Sequence[DrawingTask], pictures: Sequence[Picture], tolerance: float) -> list[Judged]:
    """Judge one picture for each task by rules, see `micro_judge`."""
    pairs = zip(tasks, pictures, strict=True)
    return [Judged(task, picture, micro_judge(task, picture, tolerance)) for task, picture in pairs]


def aggregate(judged: Sequence[Judged]) -> MicroScores:
    """Average judgements as the benchmarks do; nothing is exchanged with other processes.

    Returns:
        GenEval by tag, exact and graded; success (as SC) and preservation (as PQ) by kind of edit; prompt following
        and subject consistency by OmniContext's subtasks; and the shares of pictures where nothing is wrong.
    """
    captions, edits, contexts = ([one for one in judged if one.task.family == family] for family in FAMILIES)
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


def exact_by_family(judged: Sequence[Judged]) -> dict[str, list[int]]:
    """1 for each picture without a fault, else 0, by `MicroScores.headline`'s names: models compare in pairs."""
    found: dict[str, list[int]] = {}
    for one in judged:
        found.setdefault(EXACT[one.task.family][0], []).append(int(one.exact))
    return found


def micro_edit_bench() -> EditBench:
    """The edit benchmark with the micro-world's kinds; SC stands for success, PQ for preservation."""
    return EditBench("edits (SC: success, PQ: preservation)", EDIT_KINDS, ("en",))


def _alone() -> bool:
    return False


def _exact(title: str, groups: Sequence[str], judged: Sequence[Judged]) -> GroupedMean:
    metric = Share(title, groups, "exact")
    metric.update(_groups(judged), torch.tensor([one.judgement.value for one in judged]))
    return metric


def _groups(judged: Sequence[Judged]) -> list[str]:
    return [one.task.group for one in judged]


def _column(judged: Sequence[Judged], name: str) -> Float[Tensor, " samples"]:
    return torch.tensor([one.judgement.parts[name] for one in judged], dtype=torch.float64)
