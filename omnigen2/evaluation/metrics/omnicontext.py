"""OmniContext: does a picture follow its instruction and keep the subjects of its references?"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.evaluation.metrics.grouped import Column, GroupedMean, Valid

SUBTASKS = (
    "single_character",
    "single_object",
    "multi_character",
    "multi_object",
    "multi_character_object",
    "scene_character",
    "scene_object",
    "scene_character_object",
)
"""The `task_type`s of the published data set, in the order of the paper's Table 4."""
FAMILIES = {
    "Single": SUBTASKS[:2],
    "Multiple": SUBTASKS[2:5],
    "Scene": SUBTASKS[5:],
}
"""The three column groups of Table 4."""


class OmniContext(GroupedMean):
    """Mean prompt following, subject consistency and overall score of OmniContext, each in [0, 10].

    The overall score is the geometric mean of the two, taken per sample; it is averaged within each subtask, and the
    result is the unweighted mean over the eight subtasks. The official program does the same
    with what it has; unlike it, an unreadable answer of the judge is not replaced by a random score but counted as
    failed.

        >>> import torch
        >>> metric = OmniContext()
        >>> metric.update(["single_object"], torch.tensor([9.0]), torch.tensor([4.0]))
        >>> print(f"{metric.compute()['overall'].item():.1f}")
        6.0

    Source: arXiv:2506.18871, section 5 (OmniContext); the official calculate_statistics.py for the order of means.
    """

    def __init__(self) -> None:
        rows = {name: [[name]] for name in SUBTASKS}
        rows |= {family: [[name] for name in names] for family, names in FAMILIES.items()}
        rows["overall"] = [[name] for name in SUBTASKS]
        super().__init__("OmniContext", SUBTASKS, ("prompt_following", "subject_consistency", "overall"), rows)

    def update(
        self,
        subtasks: Sequence[str],
        prompt_following: Column,
        subject_consistency: Column,
        valid: Valid | None = None,
        overall: Column | None = None,
    ) -> None:
        """Count judgements, each score in [0, 10]; see `GroupedMean.add`.

        Args:
            overall: The mean over passes of each pass's geometric mean, where there were several passes; NaN where
                there was one. By default it is taken from the two scores.

        Raises:
            ValueError: If a subtask is unknown, numbers of samples differ, or a valid score is out of range.
        """
        self.add(subtasks, with_geometric_mean(prompt_following, subject_consistency, overall), valid)


def with_geometric_mean(first: Column, second: Column, overall: Column | None = None) -> Float[Tensor, "samples 3"]:
    """Put two scores and their geometric mean side by side.

    Args:
        overall: Instead of the geometric mean, where that was taken otherwise; NaN where it was not.

    Returns:
        float64, shape (samples, 3). A negative score has no geometric mean: it becomes NaN and is refused later.

    Raises:
        ValueError: If the numbers of samples differ.
    """
    if first.shape != second.shape or (overall is not None and overall.shape != first.shape):
        raise ValueError(f"got {len(first)} and {len(second)} scores; give as many of the one as of the other")
    wide = torch.stack([first.double(), second.double()], dim=-1)
    mean = wide.prod(-1).sqrt()
    if overall is not None:
        mean = torch.where(overall.isnan(), mean, overall.double())
    return torch.cat([wide, mean[:, None]], dim=-1)
