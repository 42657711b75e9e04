"""Contact sheets: everything is on them, whatever the pictures and the words are like."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omnigen2.pictures import Panel, Section, contact_sheet, sheet_png
from omnigen2.pictures.sheet import DOTS_PER_INCH, HEADING, TEXT_LINES, TITLE, WIDTH

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))
PANELS = st.builds(
    lambda sizes, text, passed: Panel(
        "kind", tuple(("name", torch.zeros(3, *size)) for size in sizes), text, "said", passed
    ),
    st.lists(SIZES, max_size=4),
    st.text("ab $\\_é", max_size=300),
    st.none() | st.booleans(),
)


@settings(max_examples=15)
@given(st.lists(PANELS, min_size=1, max_size=12))
def test_every_panel_stands_once_and_inside(panels: list[Panel]) -> None:
    section = Section("heading", tuple(panels))
    assert [panel for row in section.rows() for panel in row] == panels
    figure = contact_sheet("title", [section])
    assert len(figure.axes) == sum(len(panel.pictures) for panel in panels)
    for axes in figure.axes:
        box = axes.get_position()
        assert box.x0 > 0
        assert box.y0 > 0
        assert box.y1 < 1
    assert all(sum(panel.width for panel in row) < WIDTH for row in section.rows() if len(row) > 1)


def test_long_texts_are_cut_and_a_panel_without_pictures_has_its_words() -> None:
    panel = Panel("", (), "word " * 500, "fine", None)
    assert len(panel.lines) == TEXT_LINES + 1
    assert panel.lines[TEXT_LINES - 1][0].endswith("…")


@pytest.mark.parametrize("side", [2, 600])
def test_a_sheet_is_a_png_whose_pictures_have_their_levels(side: int) -> None:
    half = torch.full((3, side, side), -0.5)
    broken = torch.full((3, side, side), torch.nan)
    sheet = sheet_png("漢字", [Section("", (Panel("", (("", half), ("", broken)), ""),))])
    colours, counts = np.unique(np.asarray(Image.open(io.BytesIO(sheet)).convert("L")), return_counts=True)
    assert {64, 0, 255} <= set(colours[counts > 10_000].tolist())


def test_an_empty_title_takes_no_room() -> None:
    def height(title: str, kind: str) -> float:
        panel = Panel(kind, (("", torch.zeros(3, 8, 8)),), "words")
        return contact_sheet(title, [Section("heading", (panel,))]).get_figheight()

    assert height("title", "kind") - height("", "kind") == pytest.approx(HEADING)
    assert height("", "kind") - height("", "") == pytest.approx(TITLE)
    sheet = sheet_png("", [Section("heading", (Panel("", (("", torch.zeros(3, 8, 8)),), ""),))])
    rows = np.asarray(Image.open(io.BytesIO(sheet)).convert("L")).min(axis=1)
    assert int(np.argmax(rows < 128)) < 0.4 * DOTS_PER_INCH
