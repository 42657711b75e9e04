"""Markdown tables, and numbers in them."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev


def spread(values: Sequence[float], digits: int = 3) -> str:
    """Write the mean of the values, and their standard deviation if there are two or more.

    Args:
        values: At least one number.
        digits: Significant digits of the mean.

    Returns:
        Something like `0.0123 ± 0.0004`.
    """
    mean = fmean(values)
    if len(values) == 1:
        return f"{mean:.{digits}g}"
    deviation = stdev(values) if all(map(math.isfinite, values)) else math.nan
    return f"{mean:.{digits}g} ± {deviation:.2g}"


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table.

    Args:
        head: Titles of the columns.
        lines: The cells of each line, as many as there are titles.

    Returns:
        The table without a newline at the end.
    """
    cells = [list(head), ["---"] * len(head), *map(list, lines)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells)
