"""Extrapolation: exact on polynomials, and of its order on smooth paths."""

from math import log2

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.dit.cache import ForecastCache, GuidanceReuse, History, TaylorSeer, lagrange, taylor
from omnigen2.errors import UserError


@given(st.lists(st.integers(0, 20), min_size=1, max_size=3, unique=True), st.integers(21, 30), st.integers(-3, 3))
def test_polynomials_are_met(known: list[int], at: int, slope: int) -> None:
    def path(step: int) -> float:
        return 2.0 + slope * step ** (len(known) - 1)

    found = sum(weight * path(step) for weight, step in zip(lagrange(at, known), known, strict=True))
    assert found == pytest.approx(path(at), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(("order", "official", "slope"), [(0, False, 1), (1, False, 2), (2, False, 3), (2, True, 2)])
def test_the_order_by_slope(order: int, official: bool, slope: int) -> None:
    """Halving the step divides the error by 2 to the power of the order plus 1; the official series stays behind."""

    def error(h: float) -> float:
        history = History(order, official)
        for step in (0, 2, 4):
            history.push(step, torch.tensor([[h * step]], dtype=torch.float64).exp(), [True])
        wanted = torch.tensor(5 * h, dtype=torch.float64).exp()
        return float((history.predict(5, 1, None, 1) - wanted).abs())

    assert log2(error(0.02) / error(0.01)) == pytest.approx(slope, abs=0.1)


def test_rows_are_extrapolated_from_their_own_steps() -> None:
    history, owner = History(1), torch.tensor([0, 0, 1])
    history.push(0, torch.tensor([[0.0], [0.0], [10.0]]), [True, True])
    history.push(2, torch.tensor([[4.0], [6.0]]), [True, False], torch.tensor([0, 1]))
    history.push(3, torch.tensor([[40.0]]), [False, True], torch.tensor([2]))
    assert history.predict(4, 2, owner, 3).flatten().tolist() == pytest.approx([8.0, 12.0, 50.0])


def test_taylor_is_lagrange_up_to_order_1() -> None:
    assert taylor(7, [4]) == lagrange(7, [4])
    assert taylor(7, [4, 2]) == lagrange(7, [4, 2])


def test_a_second_drawing_with_the_same_models_knows_nothing_of_the_first() -> None:
    models = TaylorSeer(interval=3).models(lambda x_t, t: x_t, 9)

    def velocities(x: float) -> list[float]:
        return [float(model(torch.full((1, 1), x + step), torch.zeros(1))) for step, model in enumerate(models)]

    first = velocities(1.0)
    assert velocities(50.0) == pytest.approx([value + 49 for value in first])


@given(st.floats(0, 10), st.integers(3, 20))
def test_a_forecast_is_due_in_time(error: float, step: int) -> None:
    known = (step - 1, step - 3)
    assert ForecastCache(threshold=0.0).next_due(step, error, known) == step + 1
    due = [ForecastCache(threshold=threshold).next_due(step, error, known) for threshold in (0.01, 0.1, 1.0)]
    assert due == sorted(due)
    assert all(step < one <= step + 6 for one in due)


@pytest.mark.parametrize(
    "make",
    [
        lambda: TaylorSeer(interval=0), lambda: TaylorSeer(warm_up=0), lambda: ForecastCache(threshold=-1.0),
        lambda: GuidanceReuse(interval=0),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_are_refused(make) -> None:
    with pytest.raises(UserError):
        make()
