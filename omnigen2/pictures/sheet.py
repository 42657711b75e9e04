"""A contact sheet: pictures with their texts, flowing from left to right under headings."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, FAINT, GOOD, BAD = "#222222", "#777777", "#1a7f37", "#c62828"
WIDTH = 13.6
"""Of the sheet, in inches, as all lengths here."""
PICTURE = 1.3
GAP = 0.12
PANEL_GAP = 0.3
TITLE, NAMES, LINE = 0.2, 0.16, 0.135
"""Heights of a panel's title, of the names over its pictures, and of a line of text."""
HEADING = 0.42
LETTERS_PER_INCH = 17


@dataclass(frozen=True, slots=True)
class Panel:
    """One task.

    Attributes:
        title: The kind of task.
        pictures: Name and pixels of each, in [-1, 1], all shown at the same size; at least one.
        text: Caption, instruction, or question.
        verdict: What the verifier says.
        passed: Whether it is satisfied; None where there is nothing to judge.
    """

    title: str
    pictures: tuple[tuple[str, Float[Tensor, "3 _ _"]], ...]
    text: str
    verdict: str = ""
    passed: bool | None = None

    @property
    def width(self) -> float:
        """In inches."""
        return len(self.pictures) * (PICTURE + GAP) - GAP

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Its text and verdict, cut to its width, each line with its colour."""
        letters = int(self.width * LETTERS_PER_INCH)
        colour = FAINT if self.passed is None else GOOD if self.passed else BAD
        text = [(line, INK) for line in textwrap.wrap(self.text, letters)]
        return text + [(line, colour) for line in textwrap.wrap(self.verdict, letters)]

    @property
    def head(self) -> float:
        """Height above the pictures, in inches."""
        return TITLE + (NAMES if any(name for name, _ in self.pictures) else 0)

    @property
    def height(self) -> float:
        """In inches."""
        return self.head + PICTURE + (len(self.lines) + 1) * LINE


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under a heading.

    Attributes:
        heading: What they are.
        panels: At least one.
    """

    heading: str
    panels: tuple[Panel, ...]

    def rows(self) -> Iterator[tuple[Panel, ...]]:
        """The panels, as many side by side as fit.

        Yields:
            One row after another.
        """
        breaks, left = [0], WIDTH - 2 * PANEL_GAP
        for number, panel in enumerate(self.panels):
            if panel.width > left:
                breaks.append(number)
                left = WIDTH - 2 * PANEL_GAP
            left -= panel.width + PANEL_GAP
        for start, end in pairwise([*breaks, len(self.panels)]):
            yield self.panels[start:end]


def contact_sheet(title: str, sections: Sequence[Section]) -> "Figure":
    """Lay sections out below one another.

    Args:
        title: Of the whole sheet.
        sections: At least one.

    Returns:
        A figure as high as it needs to be.
    """
    height = HEADING + PANEL_GAP
    for section in sections:
        height += HEADING + sum(max(panel.height for panel in row) for row in section.rows())
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    top = PANEL_GAP
    _write(figure, PANEL_GAP, top, title, size=13, weight="bold")
    top += HEADING
    for section in sections:
        _write(figure, PANEL_GAP, top, section.heading, size=11, weight="bold")
        top += HEADING - 0.1
        for row in section.rows():
            left = PANEL_GAP
            for panel in row:
                _draw(figure, panel, left, top)
                left += panel.width + PANEL_GAP
            top += max(panel.height for panel in row)
        top += 0.1
    return figure


def _draw(figure: "Figure", panel: Panel, left: float, top: float) -> None:
    _write(figure, left, top, panel.title, size=8, colour=FAINT)
    below = top + panel.head
    for number, (name, pixels) in enumerate(panel.pictures):
        start = left + number * (PICTURE + GAP)
        _write(figure, start, top + TITLE, name, size=7, colour=FAINT)
        _show(figure, start, below, pixels)
    below += PICTURE + LINE / 2
    for number, (line, colour) in enumerate(panel.lines):
        _write(figure, left, below + number * LINE, line, size=7.5, colour=colour)


def _show(figure: "Figure", left: float, top: float, pixels: Float[Tensor, "3 _ _"]) -> None:
    height = figure.get_figheight()
    axes = figure.add_axes((left / WIDTH, 1 - (top + PICTURE) / height, PICTURE / WIDTH, PICTURE / height))
    axes.imshow((pixels / 2 + 0.5).clamp(0, 1).permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(edgecolor=FAINT, linewidth=0.4)


def _write(
    figure: "Figure", left: float, top: float, text: str, size: float, colour: str = INK, weight: str = "normal"
) -> None:
    x, y = left / WIDTH, 1 - top / figure.get_figheight()
    figure.text(x, y, text, ha="left", va="top", fontsize=size, color=colour, fontweight=weight, parse_math=False)
