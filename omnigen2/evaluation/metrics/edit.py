"""Benchmarks of edits that a judge scores twice: was it done and nothing else, and does the picture look right?"""

from collections.abc import Sequence

from omnigen2.evaluation.metrics.grouped import Column, GroupedMean, Valid
from omnigen2.evaluation.metrics.omnicontext import with_geometric_mean

GEDIT_SUBTASKS = (
    "background_change",
    "color_alter",
    "material_alter",
    "motion_change",
    "ps_human",
    "style_change",
    "subject-add",
    "subject-remove",
    "subject-replace",
    "text_change",
    "tone_transfer",
)
"""The `task_type`s of GEdit-Bench, as published."""
GEDIT_LANGUAGES = ("en", "cn")
IMGEDIT_SUBTASKS = ("add", "adjust", "extract", "replace", "remove", "background", "style", "compose", "action")
"""The `edit_type`s of ImgEdit-Bench's basic part; `adjust` is `alter` in the published basic_edit.json."""


class EditBench(GroupedMean):
    """Mean semantic consistency (SC), perceptual quality (PQ) and overall score (O), by subtask and language.

    O is the geometric mean of SC and PQ, taken per sample (and per pass of the judge). There is a line for each subtask
    (its samples of all languages pooled), one for each language (the mean over subtasks, as papers print it), and the
    mean over subtasks.

    Args:
        highest: The best score; 10 for GEdit-Bench. The worst is `lowest`.
        lowest: The worst score: 0 for GEdit-Bench.

    Source: arXiv:2504.17761 (GEdit-Bench, SC / PQ / O after VIEScore, arXiv:2312.14867).
    """

    def __init__(
        self,
        title: str = "GEdit-Bench",
        subtasks: Sequence[str] = GEDIT_SUBTASKS,
        languages: Sequence[str] = GEDIT_LANGUAGES,
        highest: float = 10.0,
        lowest: float = 0.0,
    ) -> None:
        self.subtasks, self.languages = tuple(subtasks), tuple(languages)
        groups = [_name(subtask, language) for subtask in subtasks for language in languages]
        pools = {subtask: [_name(subtask, language) for language in languages] for subtask in subtasks}
        rows = {subtask: [pool] for subtask, pool in pools.items()}
        if len(self.languages) > 1:
            rows |= {language: [[_name(subtask, language)] for subtask in subtasks] for language in languages}
        rows["overall"] = list(pools.values())
        super().__init__(title, groups, ("SC", "PQ", "O"), rows, lowest, highest)

    def update(
        self,
        subtasks: Sequence[str],
        languages: Sequence[str],
        semantic_consistency: Column,
        perceptual_quality: Column,
        valid: Valid | None = None,
        overall: Column | None = None,
    ) -> None:
        """Count judgements; see `OmniContext.update` for `overall`.

        Args:
            semantic_consistency: The lower of the judge's "was it done" and "was nothing else changed".
            perceptual_quality: The lower of the judge's "natural" and "free of artefacts".

        Raises:
            ValueError: If a subtask or language is unknown, numbers differ, or a valid score is out of range.
        """
        if len(subtasks) != len(languages):
            raise ValueError(
                f"got {len(subtasks)} subtasks and {len(languages)} languages; give one of each per sample"
            )
        for names, known, what in (
            (subtasks, self.subtasks, "subtask"),
            (languages, self.languages, "language"),
        ):
            unknown = sorted(set(names) - set(known))
            if unknown:
                raise ValueError(f"{self.title} has no {what} {unknown[0]!r}; it has {', '.join(known)}")
        groups = [_name(*pair) for pair in zip(subtasks, languages, strict=True)]
        self.add(groups, with_geometric_mean(semantic_consistency, perceptual_quality, overall), valid)


def _name(subtask: str, language: str) -> str:
    return f"{subtask} ({language})"


class ImgEditBench(GroupedMean):
    """ImgEdit-Bench's own score, from 1 to 5, by kind of edit, and the mean over kinds.

    Source: Benchmark/Basic/step2_typescore.py in PKU-YuanGroup/ImgEdit, which averages by kind. It has no overall
        score; the published one is close to the mean over kinds (3.44 for a row whose mean is 3.44).
    """

    def __init__(self) -> None:
        super().__init__("ImgEdit-Bench", IMGEDIT_SUBTASKS, ("score",), lowest=1.0, highest=5.0)

    def update(self, kinds: Sequence[str], scores: Column, valid: Valid | None = None) -> None:
        """Count judgements.

        Args:
            scores: The mean of the judge's three grades.

        Raises:
            ValueError: If a kind is unknown, numbers differ, or a valid score is out of range.
        """
        self.add(kinds, scores.double()[:, None], valid)
