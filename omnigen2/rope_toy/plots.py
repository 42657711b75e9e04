"""The two pictures of the toy report: curves, and what every row made of the same questions at a few steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from omnigen2.pictures import Picture, show_pixels
from omnigen2.rope_toy.results import LOSS, RowNumbers
from omnigen2.rope_toy.samples import Answer, load_answers
from omnigen2.runner.plan import Plan, Results, Row, RunResult

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's palette, which people with any common colour blindness can tell apart."""
GREY = "#8a8a8a"
INK = "#222222"
FRAME = "#D55E00"
QUESTIONS_SHOWN = 3


def plot_curves(results: Results, rows: Sequence[RowNumbers], target: float) -> Figure:
    """Draw the loss against the steps: one panel for the paper's rows, one for the others if there are any.

    Lines are geometric means over the seeds, bands reach from the lowest to the highest seed.
    """
    paper = [row for row in rows if "paper_steps" in row.row.notes] or list(rows)
    others = [row for row in rows if row not in paper]
    colours = {row.row.name: COLOURS[number % len(COLOURS)] for number, row in enumerate(rows)}
    figure = Figure(figsize=(11 if others else 7.5, 4.6), layout="constrained")
    panels = figure.subplots(1, 2 if others else 1, sharey=True, squeeze=False)[0]
    _panel(panels[0], results, paper, colours, target)
    panels[0].set_title("The paper's rows", loc="left", fontsize=11, color=INK)
    panels[0].set_ylabel("mean squared error on held-out photographs", color=INK)
    if others:
        for row in paper:
            panels[1].plot(*_mean(results, row), color=GREY, linewidth=0.8, alpha=0.7, zorder=1)
        _panel(panels[1], results, others, colours, target)
        panels[1].set_title("Ours (grey: the paper's rows)", loc="left", fontsize=11, color=INK)
    return figure


def _panel(axes: Axes, results: Results, rows: Sequence[RowNumbers], colours: Mapping[str, str], target: float) -> None:
    axes.set_yscale("log")
    axes.axhline(target, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    ends: list[tuple[float, RowNumbers]] = []
    for row in rows:
        colour = colours[row.row.name]
        steps, losses = _curves(results, row)
        _, mean = _mean(results, row)
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
    results: Results, row: RowNumbers
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, "seeds points"]]:
    curves = [run.curve(LOSS) for run in results.of_row(row.row.name)]
    shared = sorted(set.intersection(*({step for step, _ in curve} for curve in curves)))
    losses = [[dict(curve)[step] for step in shared] for curve in curves]
    return np.array(shared, dtype=float), np.array(losses)


def _mean(results: Results, row: RowNumbers) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, " points"]]:
    steps, losses = _curves(results, row)
    return steps, np.exp(np.log(losses).mean(0))


def apart(values: Sequence[float], gap: float) -> list[float]:
    """Move values apart by at least `gap`, so that labels there do not overlap; order and centre stay."""
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


def kept_answers(run: RunResult) -> dict[int, list[Answer]]:
    """The answers that a finished run kept, by step in increasing order."""
    files = sorted((run.folder / "samples").glob("step_*.safetensors"))
    return {int(file.stem.removeprefix("step_")): load_answers(file) for file in files}


def plot_answers(plan: Plan, results: Results) -> Figure | None:
    """Draw the first seed's answers: questions side by side, a line per row of the study, a column per step.

    There is no figure if a run kept no answers.
    """
    kept = [(row, kept_answers(results.of_row(row.name)[0])) for row in plan.rows]
    steps = sorted(set.intersection(*(set(found) for _, found in kept)))
    if not steps:
        return None
    questions = kept[0][1][steps[0]][:QUESTIONS_SHOWN]
    figure = Figure(figsize=(2.3 + len(questions) * (0.82 * len(steps) + 0.35), 1.75 + 0.82 * len(kept)))
    outer = figure.add_gridspec(
        2, len(questions), height_ratios=(1.2, 0.82 * len(kept)), hspace=0.06, wspace=0.1,
        left=2.25 / figure.get_figwidth(), right=0.99, top=1 - 0.3 / figure.get_figheight(), bottom=0.02,
    )  # fmt: skip
    for column, question in enumerate(questions):
        head = outer[0, column].subgridspec(1, len(question.references) + 1, wspace=0.12)
        _question(figure.add_subplot(head[0, -1]), question, None)
        for number in range(len(question.references)):
            _question(figure.add_subplot(head[0, number]), question, number)
        body = outer[1, column].subgridspec(len(kept), len(steps), wspace=0.06, hspace=0.06)
        for line, (row, found) in enumerate(kept):
            for place, step in enumerate(steps):
                axes = figure.add_subplot(body[line, place])
                _show(axes, found[step][column].answer)
                if line == 0:
                    axes.set_title(f"step {step}" if place == 0 else f"{step}", fontsize=8.5, color=INK, pad=3)
                if column == place == 0:
                    _label(axes, row)
    return figure


def _question(axes: Axes, question: Answer, number: int | None) -> None:
    _show(axes, question.target if number is None else question.references[number])
    axes.set_anchor("S")
    if number is None:
        axes.set_title("target", fontsize=9, color=INK, pad=3)
    elif number != question.asked:
        axes.set_title(f"{number + 1}", fontsize=9, color=INK, pad=3)
    else:
        axes.set_title(f"{number + 1} (asked)", fontsize=9, color=FRAME, pad=3, fontweight="bold")
        for spine in axes.spines.values():
            spine.set(visible=True, edgecolor=FRAME, linewidth=2.2)


def _label(axes: Axes, row: Row) -> None:
    axes.text(-0.15, 0.5, row.title, transform=axes.transAxes, ha="right", va="center", fontsize=9.5, color=INK)


def _show(axes: Axes, picture: Picture) -> None:
    show_pixels(axes, picture)
    for spine in axes.spines.values():
        spine.set_visible(False)


def save(figure: Figure, file: Path) -> None:
    """Write a figure as a PNG file, the same bytes for the same figure."""
    figure.savefig(file, dpi=160, facecolor="white", metadata={"Software": None}, bbox_inches="tight")
