"""A contact sheet: pictures with their texts, flowing from left to right under headings."""

import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from jaxtyping import Float
from torch import Tensor

from omnigen2.pictures.pixels import Picture, to_levels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
TEXT_LINES = 8
"""Most of a text, which is then cut."""
DOTS_PER_INCH = 110


@dataclass(frozen=True, slots=True)
class Panel:
    """One task.

    Attributes:
        title: The kind of task; takes no room if it is empty.
        pictures: Name and pixels of each, in [-1, 1], on the CPU; all shown in squares of the same size.
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
        return max(len(self.pictures), 1) * (PICTURE + GAP) - GAP

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Its text and verdict, cut to its width, each line with its colour."""
        letters = int(self.width * LETTERS_PER_INCH)
        colour = FAINT if self.passed is None else GOOD if self.passed else BAD
        texts = ((self.text, INK), (self.verdict, colour))
        return [
            (line, shade)
            for text, shade in texts
            for line in textwrap.wrap(text, letters, max_lines=TEXT_LINES, placeholder=" …")
        ]

    @property
    def above_names(self) -> float:
        """Height above the names of the pictures, in inches."""
        return TITLE if self.title else 0.0

    @property
    def head(self) -> float:
        """Height above the pictures, in inches."""
        return self.above_names + (NAMES if any(name for name, _ in self.pictures) else 0)

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
        """The panels, row by row, as many side by side as fit."""
        breaks, left = [0], WIDTH - 2 * PANEL_GAP
        for number, panel in enumerate(self.panels):
            if panel.width > left:
                breaks.append(number)
                left = WIDTH - 2 * PANEL_GAP
            left -= panel.width + PANEL_GAP
        for start, end in pairwise([*breaks, len(self.panels)]):
            yield self.panels[start:end]


def sheet_png(title: str, sections: Sequence[Section]) -> bytes:
    """A contact sheet as a PNG file; a title that is empty takes no room."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        contact_sheet(title, sections).savefig(file, dpi=DOTS_PER_INCH, format="png")
    return file.getvalue()


def contact_sheet(title: str, sections: Sequence[Section]) -> "Figure":
    """Lay sections, at least one, out below one another; the figure is as high as it needs to be."""
    heading = HEADING if title else 0.0
    height = heading + PANEL_GAP
    for section in sections:
        height += HEADING + sum(max(panel.height for panel in row) for row in section.rows())
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    top = PANEL_GAP
    _write(figure, PANEL_GAP, top, title, size=13, weight="bold")
    top += heading
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
        _write(figure, start, top + panel.above_names, name, size=7, colour=FAINT)
        _show(figure, start, below, pixels)
    below += PICTURE + LINE / 2
    for number, (line, colour) in enumerate(panel.lines):
        _write(figure, left, below + number * LINE, line, size=7.5, colour=colour)


def _show(figure: "Figure", left: float, top: float, pixels: Picture) -> None:
    height = figure.get_figheight()
    axes = figure.add_axes((left / WIDTH, 1 - (top + PICTURE) / height, PICTURE / WIDTH, PICTURE / height))
    show_pixels(axes, pixels)
    for spine in axes.spines.values():
        spine.set(edgecolor=FAINT, linewidth=0.4)


def show_pixels(axes: "Axes", pixels: Picture) -> None:
    """Show a picture: small ones pixel by pixel, large ones smoothed; what is not a number is black."""
    fits = max(pixels.shape) <= PICTURE * DOTS_PER_INCH
    axes.imshow(to_levels(pixels.nan_to_num(-1)).numpy(), interpolation="nearest" if fits else "antialiased")
    axes.set(xticks=[], yticks=[])


def _write(
    figure: "Figure", left: float, top: float, text: str, size: float, colour: str = INK, weight: str = "normal"
) -> None:
    x, y = left / WIDTH, 1 - top / figure.get_figheight()
    figure.text(x, y, text, ha="left", va="top", fontsize=size, color=colour, fontweight=weight, parse_math=False)
