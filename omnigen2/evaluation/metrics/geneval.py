"""GenEval: does a picture show the objects, numbers, colours and places that its prompt names?"""

from collections.abc import Sequence

from omnigen2.evaluation.metrics.grouped import Column, GroupedMean, Valid

TAGS = ("single_object", "two_object", "counting", "colors", "position", "color_attr")
"""The tags of the published prompts, in the order of the paper's Table 2."""


class GenEval(GroupedMean):
    """Share of correct pictures per tag, and the unweighted mean of the six shares.

    Args:
        graded: Whether shares of met clauses count, in [0, 1], and not only right (1) and wrong (0).

    Source: arXiv:2310.11513, section 4; the official summary_scores.py for the mean of tag means.
    """

    def __init__(self, graded: bool = False) -> None:
        self.graded = graded
        column = "graded" if graded else "correct"
        super().__init__("GenEval (graded)" if graded else "GenEval", TAGS, (column,), highest=1.0)

    def update(self, tags: Sequence[str], correct: Column, valid: Valid | None = None) -> None:
        """Count verdicts.

        Args:
            correct: 0 or 1; with `graded`, anything between as well.

        Raises:
            ValueError: If a tag is unknown, numbers differ, or a verdict is out of range.
        """
        if not self.graded:
            between = (correct > 0) & (correct < 1) & (True if valid is None else valid)
            if between.any():
                raise ValueError(
                    f"GenEval counts right (1) and wrong (0), got {correct[between][0].item()}; "
                    "use GenEval(graded=True) for shares"
                )
        self.add(tags, correct.double()[:, None], valid)
