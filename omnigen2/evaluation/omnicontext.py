"""OmniContext: does a picture follow its instruction and keep the subjects of its references?"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.evaluation.grouped import GroupedMean, Scores, Valid

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
        prompt_following: Scores,
        subject_consistency: Scores,
        valid: Valid | None = None,
    ) -> None:
        """Count judgements.

        Args:
            subtasks: One of `SUBTASKS` for each sample.
            prompt_following: In [0, 10].
            subject_consistency: In [0, 10].
            valid: False where the judge gave no readable answer to one of the two; by default all are valid.

        Raises:
            ValueError: If a subtask is unknown, numbers of samples differ, or a valid score is out of range.
        """
        self.add(subtasks, with_geometric_mean(prompt_following, subject_consistency), valid)


def with_geometric_mean(first: Scores, second: Scores) -> Float[Tensor, "samples 3"]:
    """Put two scores and their geometric mean side by side.

    Args:
        first: A score for each sample.
        second: Another.

    Returns:
        float64, shape (samples, 3). A negative score has no geometric mean: it becomes NaN and is refused later.

    Raises:
        ValueError: If the numbers of samples differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"got {len(first)} and {len(second)} scores; give as many of the one as of the other")
    wide = torch.stack([first.double(), second.double()], dim=-1)
    return torch.cat([wide, wide.prod(-1, keepdim=True).sqrt()], dim=-1)
