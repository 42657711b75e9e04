"""A page of questions and answers: what every row made of the same questions at a few steps."""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from omnigen2.rope_toy.samples import Answer, load_answers
from omnigen2.runner.reports import CellResult, Row, StudyResult

INK = "#222222"
FRAME = "#D55E00"
QUESTIONS_SHOWN = 3


def kept_answers(cell: CellResult) -> dict[int, list[Answer]]:
    """The answers that a run kept.

    Args:
        cell: A finished run.

    Returns:
        By step, in increasing order; empty if the run kept none.
    """
    files = sorted((cell.folder / "samples").glob("step_*.safetensors"))
    return {int(file.stem.removeprefix("step_")): load_answers(file) for file in files}


def plot_answers(result: StudyResult) -> Figure | None:
    """Draw the first seed's answers: questions side by side, a line per row of the study, a column per step.

    Args:
        result: The finished study.

    Returns:
        The figure; None if a run kept no answers.
    """
    kept = [(row, kept_answers(result.cell(row.name, result.seeds[0]))) for row in result.rows]
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


def _show(axes: Axes, picture: Float[Tensor, "3 _ _"]) -> None:
    pixels: Float[np.ndarray, "_ _ 3"] = (picture / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy()
    axes.imshow(pixels, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
