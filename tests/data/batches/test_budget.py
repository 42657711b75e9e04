"""Counting tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnigen2.data import DataError, SampleSizes, TokenBudget
from omnigen2.data.samples import SizeColumns
from omnigen2.layout import ImageSegment
from omnigen2.pictures import ResizePolicy
from tests.data.cases import POLICY, Sizes

sides = st.integers(1, 200)


@given(references=st.lists(st.tuples(sides, sides), max_size=4), target=st.none() | st.tuples(sides, sides))
def test_the_cost_is_what_the_resized_images_have(references, target) -> None:
    budget = TokenBudget(10_000, POLICY)
    resized = POLICY.resize_references([Image.new("RGB", (w, h)) for h, w in references])
    images = resized + ([POLICY.resize(Image.new("RGB", target[::-1]))] if target else [])
    tokens = [(image.height // 8) * (image.width // 8) for image in images]
    sizes = SampleSizes(7, tuple(references), target)
    assert budget.cost(sizes) == 7 + sum(tokens)
    assert [segment.tokens for segment in budget.images(sizes)] == tokens


@given(
    st.lists(
        st.builds(
            SampleSizes,
            text_tokens=st.integers(0, 30),
            references=st.lists(st.tuples(sides, sides), max_size=4).map(tuple),
            target=st.none() | st.tuples(sides, sides),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_costs_of_many_are_the_costs_of_each_and_none_is_above_the_bound(sizes) -> None:
    budget = TokenBudget(10_000, ResizePolicy(64 * 64, 150, 8, (32 * 32, 16 * 16, 40 * 40)))
    costs = budget.costs(SizeColumns.of(sizes)).tolist()
    assert costs == [budget.cost(one) for one in sizes]
    assert max(costs) <= budget.most(Sizes(sizes).envelope())


def test_the_layout_has_text_references_target_and_no_padding() -> None:
    images = ((ImageSegment(1, 2, "reference"), ImageSegment(2, 2, "target")), (ImageSegment(1, 1, "target"),))
    layout = TokenBudget(10, POLICY).layout((3, 0), images)
    assert layout.samples.lengths == (9, 1)
    assert layout.segments("text").lengths == (3,)


def test_a_text_that_is_longer_than_counted_is_caught() -> None:
    with pytest.raises(DataError, match=r"batch has 9 tokens \(5 of text\), the budget is 8; .*another TextLength"):
        TokenBudget(8, POLICY).layout((5,), ((ImageSegment(2, 2, "target"),),))
    with pytest.raises(DataError, match="got 2 text lengths for 1 samples"):
        TokenBudget(8, POLICY).layout((1, 1), ((ImageSegment(2, 2, "target"),),))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TokenBudget(0), "at least 1 token, got 0"),
        (lambda: TokenBudget(1, max_samples=0), "max_samples must be at least 1, got 0; use None"),
    ],
)
def test_numbers_out_of_range_are_refused(make, message) -> None:
    with pytest.raises(DataError, match=message):
        make()
