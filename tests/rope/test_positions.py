"""Laws of the position schemes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.layout import ImageSegment, Layout, TextSegment, unpack
from omnigen2.rope import LuminaPositions, OmniPositions, PositionScheme, QwenPositions
from tests.strategies import layouts

SCHEMES = [
    OmniPositions(),
    OmniPositions("consecutive"),
    OmniPositions(target="first"),
    OmniPositions("consecutive", "first"),
    QwenPositions(),
    LuminaPositions(),
]
every_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=str)


def by_segment(scheme: PositionScheme, layout: Layout) -> list[tuple]:
    """(sample, segment, ids) for every segment."""
    pieces = iter(unpack(scheme(layout), layout.segments()))
    return [(number, segment, next(pieces)) for number, sample in enumerate(layout.batch) for segment in sample]


@every_scheme
@given(layout=layouts())
def test_text_stands_on_the_diagonal_from_zero(scheme: PositionScheme, layout: Layout) -> None:
    for _, segment, ids in by_segment(scheme, layout):
        if isinstance(segment, TextSegment):
            assert ids.tolist() == [[i, i, i] for i in range(segment.length)]


@every_scheme
@given(layout=layouts())
def test_an_image_is_a_grid_of_one_instance(scheme: PositionScheme, layout: Layout) -> None:
    for _, segment, ids in by_segment(scheme, layout):
        if isinstance(segment, ImageSegment):
            rows = torch.arange(segment.height).repeat_interleave(segment.width)
            columns = torch.arange(segment.width).repeat(segment.height)
            grid = torch.stack((torch.zeros_like(rows), rows, columns), dim=1)
            torch.testing.assert_close(ids - ids[0], grid, rtol=0, atol=0)


@every_scheme
@given(layout=layouts(max_samples=4))
def test_a_sample_stands_the_same_in_any_batch(scheme: PositionScheme, layout: Layout) -> None:
    together = unpack(scheme(layout), layout.samples)
    for sample, ids in zip(layout.batch, together, strict=True):
        torch.testing.assert_close(scheme(Layout((sample,))), ids, rtol=0, atol=0)


@pytest.mark.parametrize("advance", ["extent", "consecutive"])
@pytest.mark.parametrize("target", ["last", "first"])
@given(layout=layouts())
def test_references_and_target_share_row_and_column(advance: str, target: str, layout: Layout) -> None:
    for _, segment, ids in by_segment(OmniPositions(advance, target), layout):
        if isinstance(segment, ImageSegment):
            assert ids[0, 1:].tolist() == [0, 0]


@given(layouts())
def test_the_instance_grows_by_the_larger_side(layout: Layout) -> None:
    sample = -1
    expected = 0
    for number, segment, ids in by_segment(OmniPositions(), layout):
        if number != sample:
            sample, expected = number, 0
        if isinstance(segment, TextSegment):
            expected = segment.length
        else:
            assert (ids[:, 0] == expected).all()
            expected += max(segment.height, segment.width)


@given(layouts())
def test_consecutive_instances_do_not_depend_on_sizes(layout: Layout) -> None:
    for sample in layout.batch:
        texts = sum(segment.length for segment in sample if isinstance(segment, TextSegment))
        images = [segment for segment in sample if isinstance(segment, ImageSegment)]
        origins = OmniPositions("consecutive").origins(texts, images)
        assert [origin.instance for origin in origins] == [texts + number for number in range(len(images))]


@given(layouts(needs_target=True), st.sampled_from(["extent", "consecutive"]))
def test_a_first_target_stands_where_the_first_image_would(layout: Layout, advance: str) -> None:
    for number, segment, ids in by_segment(OmniPositions(advance, "first"), layout):
        text = sum(s.length for s in layout.batch[number] if isinstance(s, TextSegment))
        if segment.kind == "target":
            assert ids[0, 0] == text
        elif segment.kind == "reference":
            assert ids[0, 0] > text


@pytest.mark.parametrize("scheme", [QwenPositions(), OmniPositions(), OmniPositions("consecutive")], ids=str)
@given(layout=layouts())
def test_no_two_tokens_of_a_sample_share_a_position(scheme: PositionScheme, layout: Layout) -> None:
    for ids in unpack(scheme(layout), layout.samples):
        assert len(torch.unique(ids, dim=0)) == len(ids)


def test_the_paper_s_table() -> None:
    """The formulas of Table 1 on one example: text of 2, references of 1x3 and 2x1, target of 2x2 tokens."""
    images = (ImageSegment(1, 3, "reference"), ImageSegment(2, 1, "reference"), ImageSegment(2, 2, "target"))
    assert LuminaPositions().origins(2, images) == [(0, 0, 0), (0, 1, 3), (0, 3, 4)]
    assert QwenPositions().origins(2, images) == [(2, 2, 2), (5, 5, 5), (7, 7, 7)]
    assert OmniPositions().origins(2, images) == [(2, 0, 0), (5, 0, 0), (7, 0, 0)]
    assert OmniPositions("extent", "first").origins(2, images) == [(4, 0, 0), (7, 0, 0), (2, 0, 0)]
