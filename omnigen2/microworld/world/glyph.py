"""Words drawn in block letters, and a reader: the text-rendering task, the paper's OCR control.

Letters are 3 by 5 dots. A dot is one pixel at 16 pixels, two at 32, four at 64; up to four letters fit.
"""

from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from omnigen2.errors import check_choice
from omnigen2.microworld.world.draw import Pixels
from omnigen2.microworld.world.sampling import choose
from omnigen2.microworld.world.scene import COLOURS, RGB, Colour
from omnigen2.microworld.world.words import LETTERS, TEMPLATES

MAX_LETTERS = 4
HEIGHT, WIDTH = 5, 3
INK = 0.5
"""Pixels that are further from grey than this, on average over the channels, are ink."""
WRONG_DOTS = 3
"""A letter with more wrong dots than this, of fifteen, is not read."""
UNREAD = "?"

FONT = {
    "A": "010 101 111 101 101", "B": "110 101 110 101 110", "C": "011 100 100 100 011", "D": "110 101 101 101 110",
    "E": "111 100 110 100 111", "F": "111 100 110 100 100", "G": "011 100 101 101 011", "H": "101 101 111 101 101",
    "I": "111 010 010 010 111", "J": "001 001 001 101 010", "K": "101 110 100 110 101", "L": "100 100 100 100 111",
    "M": "101 111 111 101 101", "N": "111 101 101 101 101", "O": "010 101 101 101 010", "P": "110 101 110 100 100",
    "Q": "010 101 101 011 001", "R": "110 101 110 110 101", "S": "011 100 010 001 110", "T": "111 010 010 010 010",
    "U": "101 101 101 101 111", "V": "101 101 101 101 010", "W": "101 101 111 111 101", "X": "101 101 010 101 101",
    "Y": "101 101 010 010 010", "Z": "111 001 010 100 111",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GlyphTask:
    """One text-rendering task.

    Attributes:
        text: One to four capital letters.
        top: First row of the letters, in dots of 1/16 of the side, 0 to 11.
        left: First column, in dots; all letters must fit into 16.

    Raises:
        ValueError: If there are too many letters, or others, or they do not fit.
    """

    instruction: str
    text: str
    colour: Colour
    top: int
    left: int
    group: ClassVar[str] = "letters"
    references: ClassVar[tuple[()]] = ()

    def __post_init__(self) -> None:
        check_choice("the colour of a GlyphTask", self.colour, Colour)
        if not 1 <= len(self.text) <= MAX_LETTERS or set(self.text) - set(LETTERS):
            raise ValueError(f"GlyphTask takes 1 to {MAX_LETTERS} letters of A to Z, got {self.text!r}; shorten it")
        if not (0 <= self.top <= 16 - HEIGHT and 0 <= self.left <= 16 - _length(self.text)):
            raise ValueError(
                f"{self.text!r} at dot row {self.top}, column {self.left} leaves the picture of 16 by 16 dots; "
                f"the row may be 0 to {16 - HEIGHT}, the column 0 to {16 - _length(self.text)}"
            )


def sample_glyphs(rng: np.random.Generator, letters: int | None = None) -> GlyphTask:
    """A random text to write, of 1 to 4 letters, by default equally likely."""
    count = int(rng.integers(1, MAX_LETTERS + 1)) if letters is None else letters
    text = "".join(choose(LETTERS, rng) for _ in range(count))
    colour = choose(COLOURS, rng)
    top, left = int(rng.integers(16 - HEIGHT + 1)), int(rng.integers(16 - _length(text) + 1))
    instruction = TEMPLATES["glyph"][0].format(letters=" ".join(text.lower()), colour=colour)
    return GlyphTask(instruction, text, colour, top, left)


def draw_glyphs(task: GlyphTask, size: int) -> Pixels:
    """Draw a text on grey.

    Args:
        size: Side of the picture in pixels, a multiple of 16.

    Returns:
        In [-1, 1], shape (3, size, size).

    Raises:
        ValueError: If the size is not a positive multiple of 16.
    """
    if size < 16 or size % 16:
        raise ValueError(f"letters are drawn on a grid of 16 by 16 dots, got a size of {size}; use a multiple of 16")
    dots = np.zeros((16, 16), dtype=bool)
    for number, letter in enumerate(task.text):
        left = task.left + number * (WIDTH + 1)
        dots[task.top : task.top + HEIGHT, left : left + WIDTH] = _font()[LETTERS.index(letter)]
    ink = np.kron(dots, np.ones((size // 16, size // 16)))
    return torch.from_numpy((ink * np.array(RGB[task.colour], dtype=float)[:, None, None]).astype(np.float32))


def read_glyphs(picture: Float[Tensor, "3 size size"]) -> str:
    """Read a line of letters.

    Args:
        picture: In [-1, 1]; what is outside is clipped, NaN counts as grey. Shape (3, size, size).

    Returns:
        The letters from left to right, `UNREAD` for ink that is no letter; empty if there is no line of letters.
    """
    dots = _dots(picture)
    rows, columns = np.flatnonzero(dots.any(1)), np.flatnonzero(dots.any(0))
    if rows.size == 0 or rows[-1] - rows[0] >= HEIGHT + 2 or columns[-1] - columns[0] >= _length("A" * MAX_LETTERS) + 1:
        return ""
    lines = (max(0, rows[-1] - HEIGHT + 1), min(rows[0], 16 - HEIGHT))
    starts = range(max(0, int(columns[0]) - 1), int(columns[0]) + 1)
    guesses = [_line(dots, int(top), left) for top in dict.fromkeys(lines) for left in starts]
    return min(guesses, key=lambda guess: guess[1])[0]


def glyph_score(text: str, picture: Float[Tensor, "3 size size"]) -> float:
    """How much of a text can be read: 1 minus the edit distance as a share of the longer text, in [0, 1]."""
    found = read_glyphs(picture)
    return 1 - edit_distance(text, found) / max(len(text), len(found))


def edit_distance(first: str, second: str) -> int:
    """The least number of letters to insert, delete or change to make one text of another (Levenshtein)."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        last, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (a != b))
    return row[-1]


def _length(text: str) -> int:
    """Columns of dots that a text takes."""
    return len(text) * (WIDTH + 1) - 1


@cache
def _font() -> Bool[np.ndarray, "26 5 3"]:
    return np.array([[[dot == "1" for dot in row] for row in FONT[letter].split()] for letter in LETTERS])


def _dots(picture: Float[Tensor, "3 size size"]) -> Bool[np.ndarray, "16 16"]:
    """Which of the 16 by 16 dots are inked: the mean over a dot's pixels of the nearest colour is far from grey."""
    clean = torch.nan_to_num(picture.detach().to("cpu", torch.float32), nan=0.0).clamp(-1, 1)
    means = torch.nn.functional.adaptive_avg_pool2d(clean, (16, 16))
    return (means.abs().mean(0) > INK).numpy()


def _line(dots: Bool[np.ndarray, "16 16"], top: int, left: int) -> tuple[str, int]:
    """The letters of a line that starts at a dot, and how many of its dots are wrong, ink beside letters included."""
    text, wrong = "", int(dots.sum())
    for start in range(left, 16 - WIDTH + 1, WIDTH + 1):
        cell = dots[top : top + HEIGHT, start : start + WIDTH]
        if not cell.any():
            continue
        apart = (_font() != cell).sum((1, 2))
        best = int(apart.argmin())
        text += LETTERS[best] if apart[best] <= WRONG_DOTS else UNREAD
        wrong += int(apart[best]) - int(cell.sum())
    return text, wrong
