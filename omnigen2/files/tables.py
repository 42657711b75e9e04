"""Markdown tables, and numbers in them."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Write the mean, and the standard deviation of two or more values, as `0.0123 ± 0.0004`.

    Args:
        values: At least one number.
        digits: Significant digits of the mean.
    """
    mean = fmean(values)
    if len(values) == 1:
        return f"{mean:.{digits}g}"
    deviation = stdev(values) if all(map(math.isfinite, values)) else math.nan
    return f"{mean:.{digits}g} ± {deviation:.2g}"


def number(value: float, digits: int = 2) -> str:
    """Write a score with that many digits after the point; a dash if it is not a number."""
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]], right: bool = False) -> str:
    """Write a Markdown table, without a newline at the end.

    Args:
        head: Titles of the columns.
        lines: The cells of each line, as many as there are titles.
        right: Set all columns but the first to the right, as numbers should be.
    """
    cells = [list(head), ["---", *["---:" if right else "---"] * (len(head) - 1)], *map(list, lines)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells)
