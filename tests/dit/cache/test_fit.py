"""TeaCache's polynomial: what it is fitted to, and what it says elsewhere."""

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.dit.cache import FEWEST, Fit, TeaCache
from omnigen2.errors import UserError


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=5), st.sampled_from([0.1, 1.0, 20.0]))
def test_a_polynomial_is_found_again(coefficients: list[int], scale: float) -> None:
    """Whatever the size of the changes, and whatever is no number among them."""

    def path(x: float) -> float:
        return sum(one * (x / scale) ** power for power, one in enumerate(coefficients))

    changes = [scale * number / FEWEST for number in range(1, FEWEST + 1)]
    fit = Fit.of([(x, path(x)) for x in changes] + [(nan, 1.0), (1.0, nan)])
    assert fit.pairs == FEWEST
    assert fit.span == pytest.approx((changes[0], scale))
    assert fit.error < 1e-6
    for x in (changes[0], scale / 3, scale):
        assert fit(x) == pytest.approx(path(x), abs=1e-6)
    assert fit(100 * scale) == pytest.approx(path(scale), abs=1e-6)
    assert fit(0.0) == pytest.approx(path(changes[0]), abs=1e-6)


def test_what_explains_nothing_says_so() -> None:
    fit = Fit.of([(1 + number % 2, number % 4 // 2) for number in range(100)])
    assert fit.explained == pytest.approx(0.0, abs=1e-6)
    assert fit.error == pytest.approx(0.5)


def test_too_few_changes_are_refused() -> None:
    with pytest.raises(UserError, match=f"got {FEWEST - 1} changes from step to step, expected at least {FEWEST}"):
        Fit.of([(float(number), 1.0) for number in range(FEWEST - 1)] + [(nan, nan)] * 9)


def test_teacache_adds_up_what_the_polynomial_says() -> None:
    rule, numbers = TeaCache(threshold=1.0, coefficients=(2.0, 0.1), span=(0.0, 0.2)), {}
    assert [rule.still(change, 0, numbers) for change in (0.1, 0.1, 9.0)] == [True, True, False]
    assert numbers[0] == pytest.approx(0.3 + 0.3 + 0.5)
