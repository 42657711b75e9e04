"""The two pictures of the toy report: curves, and answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from omnigen2.rope_toy.results import LOSS, RowNumbers
from omnigen2.runner.reports import StudyResult

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's palette, which people with any common colour blindness can tell apart."""
GREY = "#8a8a8a"
INK = "#222222"


def plot_curves(result: StudyResult, rows: Sequence[RowNumbers], target: float) -> Figure:
    """Draw the loss against the steps: one panel for the paper's rows, one for the others if there are any.

    Lines are geometric means over the seeds, bands reach from the lowest to the highest seed.

    Args:
        result: The finished study.
        rows: Its numbers.
        target: The loss that was to be reached.

    Returns:
        The figure.
    """
    paper = [row for row in rows if "paper_steps" in row.row.notes] or list(rows)
    others = [row for row in rows if row not in paper]
    colours = {row.row.name: COLOURS[number % len(COLOURS)] for number, row in enumerate(rows)}
    figure = Figure(figsize=(11 if others else 7.5, 4.6), layout="constrained")
    panels = figure.subplots(1, 2 if others else 1, sharey=True, squeeze=False)[0]
    _panel(panels[0], result, paper, colours, target)
    panels[0].set_title("The paper's rows", loc="left", fontsize=11, color=INK)
    panels[0].set_ylabel("mean squared error on held-out photographs", color=INK)
    if others:
        for row in paper:
            panels[1].plot(*_mean(result, row), color=GREY, linewidth=0.8, alpha=0.7, zorder=1)
        _panel(panels[1], result, others, colours, target)
        panels[1].set_title("Ours (grey: the paper's rows)", loc="left", fontsize=11, color=INK)
    return figure


def _panel(
    axes: Axes, result: StudyResult, rows: Sequence[RowNumbers], colours: Mapping[str, str], target: float
) -> None:
    axes.set_yscale("log")
    axes.axhline(target, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    ends: list[tuple[float, RowNumbers]] = []
    for row in rows:
        colour = colours[row.row.name]
        steps, losses = _curves(result, row)
        _, mean = _mean(result, row)
        axes.fill_between(steps, losses.min(0), losses.max(0), color=colour, alpha=0.16, linewidth=0)
        axes.plot(steps, mean, color=colour, linewidth=1.8, zorder=3)
        if row.all_reached:
            axes.plot([row.least_steps], [target], "o", color=colour, markeredgecolor="white", markersize=7, zorder=4)
        ends.append((float(mean[-1]), row))
    limit = max(row.limit for row in rows)
    axes.set_xlim(0, limit)
    axes.text(limit * 0.01, target * 0.95, f"target {target:g}", va="top", fontsize=8.5, color=INK)
    axes.set_xlabel("training steps", color=INK)
    axes.grid(axis="y", which="major", color="#e6e6e6", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)
    places = apart([np.log10(end) for end, _ in ends], 0.085)
    for place, (_, row) in zip(places, ends, strict=True):
        axes.annotate(
            row.row.title,
            (limit, 10**place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9.5,
            color=colours[row.row.name],
            annotation_clip=False,
        )


def _curves(
    result: StudyResult, row: RowNumbers
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, "seeds points"]]:
    curves = [cell.curve(LOSS) for cell in result.of_row(row.row.name)]
    shared = sorted(set.intersection(*({step for step, _ in curve} for curve in curves)))
    losses = [[dict(curve)[step] for step in shared] for curve in curves]
    return np.array(shared, dtype=float), np.array(losses)


def _mean(result: StudyResult, row: RowNumbers) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    steps, losses = _curves(result, row)
    return steps, np.exp(np.log(losses).mean(0))


def apart(values: Sequence[float], gap: float) -> list[float]:
    """Move values so far apart that labels at them do not overlap, keeping their order and their centre.

    Args:
        values: Where the labels would like to be.
        gap: Least distance between two of them, above 0.

    Returns:
        Where they go, in the order of `values`.
    """
    order = sorted(range(len(values)), key=values.__getitem__)
    groups: list[list[int]] = []
    centres: list[float] = []
    for index in order:
        groups.append([index])
        centres.append(values[index])
        while len(groups) > 1 and centres[-1] - centres[-2] < gap * (len(groups[-1]) + len(groups[-2])) / 2:
            last, before = groups.pop(), groups.pop()
            a, b = centres.pop(), centres.pop()
            groups.append([*before, *last])
            centres.append((a * len(last) + b * len(before)) / (len(last) + len(before)))
    places = [0.0] * len(values)
    for centre, group in zip(centres, groups, strict=True):
        for number, index in enumerate(group):
            places[index] = centre + gap * (number - (len(group) - 1) / 2)
    return places


def save(figure: Figure, file: Path) -> None:
    """Write a figure as a PNG file, the same bytes for the same figure.

    Args:
        figure: The figure.
        file: Where to.
    """
    figure.savefig(file, dpi=160, facecolor="white", metadata={"Software": None}, bbox_inches="tight")
