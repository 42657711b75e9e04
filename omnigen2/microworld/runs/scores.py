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
from omnigen2.microworld.world import TOLERANCE, GlyphTask, background_texture, glyph_score, read, read_glyphs
from omnigen2.rl import Judgement, Picture

NAMES = {"subjects": "subject_consistency", "following": "prompt_following"}
"""What OmniContext calls the parts of a verdict."""
EXACT: Mapping[Family, tuple[str, str]] = {
    "text_to_image": ("geneval", "correct"),
    "edit": ("edit_exact", "exact"),
    "in_context": ("omnicontext_exact", "exact"),
}
"""The metric of each family, and its column, that is the share of pictures without a fault."""
LETTERS = ("letters", "exact")
"""The same of letters, which no vocabulary of scenes has."""
TEXTURE = ("texture", "texture")
"""How far plain backgrounds are from flat: no verdict sees it, so it is told by its own number. Lower is better."""


class Judged(NamedTuple):
    """A task, what was drawn for it in [-1, 1], shape (3, size, size), and what the rules say."""

    task: DrawingTask | GlyphTask
    picture: Picture
    judgement: Judgement

    @property
    def measure(self) -> tuple[str, str]:
        """The metric whose column is the share of pictures without a fault."""
        return LETTERS if isinstance(self.task, GlyphTask) else EXACT[self.task.family]

    @property
    def exact(self) -> bool:
        """Whether nothing is wrong."""
        return self.judgement.value == 1


class Means(GroupedMean):
    """Means of any columns."""

    def update(self, groups: Sequence[str], scores: Float[Tensor, "samples columns"]) -> None:
        """Count samples, one row each; see `GroupedMean.add`."""
        self.add(groups, scores)


@dataclass(frozen=True)
class MicroScores:
    """Scores of tasks and pictures by kind: metrics by name.

    Those of `EXACT`, `LETTERS` and `TEXTURE`, and `geneval_graded`, `edit` and `omnicontext`.
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

    def headline(self) -> dict[str, float]:
        """The shares without a fault over all kinds of each family, and the texture, by metric."""
        measures = (*EXACT.values(), LETTERS, TEXTURE)
        return {name: self[name].result.values[column] for name, column in measures if name in self.metrics}

    def table(self) -> str:
        """Markdown: one section for each metric."""
        parts = (f"**Micro-world {summary.title}**\n\n{summary.table()}" for summary in self.summaries.values())
        return "\n\n".join(parts)


def micro_judge(task: DrawingTask | GlyphTask, picture: Picture, tolerance: float = TOLERANCE) -> Judgement:
    """Judge one picture by rules.

    Args:
        picture: In [-1, 1], shape (3, size, size).
        tolerance: Of the reader: the largest error of an item that is still recognised; higher is milder.

    Returns:
        1 if nothing is wrong and 0 otherwise, and in words what is. The parts are those that the benchmark's judges
        give: of captions `correct` and `graded` in [0, 1], of edits `success` and `preservation` in [0, 10], of
        in-context tasks `prompt_following` and `subject_consistency` in [0, 10]; of letters `read` in [0, 1].
    """
    if isinstance(task, GlyphTask):
        score = glyph_score(task.text, picture)
        reason = "" if score == 1 else f"read {read_glyphs(picture)!r}, not {task.text!r}"
        return Judgement(float(score == 1), {"read": score}, reason)
    verdict = verify(task, read(picture, tolerance=tolerance))
    exact = float(verdict.exact)
    if isinstance(verdict, Verdict):
        parts = {"correct": exact, "graded": verdict.graded}
    else:
        parts = {NAMES.get(name, name): 10 * part.graded for name, part in verdict.parts.items()}
    return Judgement(exact, parts, "; ".join(verdict.unmet))


def micro_scores(
    tasks: Sequence[DrawingTask | GlyphTask], pictures: Sequence[Picture], tolerance: float = TOLERANCE
) -> MicroScores:
    """Judge one picture for each task by rules, see `micro_judge`, and average as the benchmarks do, see `aggregate`.

    Raises:
        ValueError: If there are not as many pictures as tasks.
    """
    if len(tasks) != len(pictures):
        raise ValueError(f"got {len(tasks)} tasks and {len(pictures)} pictures; give one picture for each task")
    return aggregate(judge_all(tasks, pictures, tolerance))


def judge_all(tasks: Sequence[DrawingTask | GlyphTask], pictures: Sequence[Picture], tolerance: float) -> list[Judged]:
    """Judge one picture for each task by rules, see `micro_judge`."""
    pairs = zip(tasks, pictures, strict=True)
    return [Judged(task, picture, micro_judge(task, picture, tolerance)) for task, picture in pairs]


def aggregate(judged: Sequence[Judged]) -> MicroScores:
    """Average judgements as the benchmarks do; nothing is exchanged with other processes.

    Returns:
        GenEval by tag, exact and graded; success (as SC) and preservation (as PQ) by kind of edit; prompt following
        and subject consistency by OmniContext's subtasks; the shares of pictures where nothing is wrong; letters that
        can be read; and by family how far plain backgrounds are from flat.
    """
    captions, edits, contexts = ([one for one in judged if one.measure == EXACT[family]] for family in FAMILIES)
    letters = [one for one in judged if one.measure == LETTERS]
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
    if letters:
        metrics["letters"] = written = Means("letters", ("letters",), ("exact", "read"), highest=1.0)
        written.update(_groups(letters), torch.stack([_values(letters), _column(letters, "read")], dim=1))
    if textures := _textures((*captions, *edits, *contexts)):
        families = list(dict.fromkeys(family for family, _ in textures))
        metrics["texture"] = texture = Means(
            "texture of plain backgrounds", families, ("texture",), highest=2.0, digits=4
        )
        values = torch.tensor([[value] for _, value in textures], dtype=torch.float64)
        texture.update([family for family, _ in textures], values)
    for metric in metrics.values():
        metric.distributed_available_fn = _alone
    return MicroScores(metrics)


def exact_by_family(judged: Sequence[Judged]) -> dict[str, list[int]]:
    """1 for each picture without a fault, else 0, by metric: models compare in pairs."""
    found: dict[str, list[int]] = {}
    for one in judged:
        found.setdefault(one.measure[0], []).append(int(one.exact))
    return found


def micro_edit_bench() -> EditBench:
    """The edit benchmark with the micro-world's kinds; SC stands for success, PQ for preservation."""
    return EditBench("edits (SC: success, PQ: preservation)", EDIT_KINDS, ("en",))


def _alone() -> bool:
    return False


def _exact(title: str, groups: Sequence[str], judged: Sequence[Judged]) -> GroupedMean:
    metric = Share(title, groups, "exact")
    metric.update(_groups(judged), _values(judged))
    return metric


def _textures(judged: Sequence[Judged]) -> list[tuple[str, float]]:
    """Family and texture of each picture that should have a plain background."""
    found = [
        (one.task.family, background_texture(one.picture, one.task.target.background))
        for one in judged
        if not isinstance(one.task, GlyphTask)
    ]
    return [(family, value) for family, value in found if value is not None]


def _values(judged: Sequence[Judged]) -> Float[Tensor, " samples"]:
    return torch.tensor([one.judgement.value for one in judged], dtype=torch.float64)


def _groups(judged: Sequence[Judged]) -> list[str]:
    return [one.task.group for one in judged]


def _column(judged: Sequence[Judged], name: str) -> Float[Tensor, " samples"]:
    return torch.tensor([one.judgement.parts[name] for one in judged], dtype=torch.float64)
