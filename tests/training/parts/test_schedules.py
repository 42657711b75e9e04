"""Learning rates stay in [0, 1], move in small steps, rise, stay and fall in this order, and need only the step."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.training.parts import LearningRate, WarmupConstant, WarmupCosine, WarmupLinearDecay, lambda_lr

SHARES = st.floats(0, 1)
PLANS = st.tuples(st.integers(0, 30), st.integers(1, 60))


@st.composite
def schedules(draw: st.DrawFn) -> LearningRate:
    warmup, total = draw(PLANS)
    share = draw(SHARES)
    kinds = (WarmupConstant(warmup), WarmupCosine(warmup, total, share), WarmupLinearDecay(warmup, total, share))
    return draw(st.sampled_from(kinds))


def steepest(schedule: LearningRate) -> float:
    """The most that a schedule may change from one step to the next."""
    warmup = schedule.warmup_steps  # type: ignore[attr-defined]
    rise = 1 / warmup if warmup else 0.0
    match schedule:
        case WarmupCosine():
            return max(rise, (1 - schedule.final) * math.pi / 2 / max(1, schedule.total_steps - warmup))
        case WarmupLinearDecay():
            return max(rise, 1 / max(1, round(schedule.decay_share * schedule.total_steps)))
        case _:
            return rise


@given(schedules())
def test_factors_are_shares_of_the_peak_and_move_in_small_steps(schedule: LearningRate) -> None:
    values = [schedule.factor(step) for step in range(100)]
    assert all(0 <= value <= 1 for value in values)
    assert all(abs(after - before) <= steepest(schedule) + 1e-12 for before, after in pairwise(values))


@given(schedules())
def test_schedules_rise_and_then_only_fall(schedule: LearningRate) -> None:
    values = [schedule.factor(step) for step in range(100)]
    top = values.index(max(values))
    assert all(after >= before for before, after in pairwise(values[: top + 1]))
    assert all(after <= before + 1e-15 for before, after in pairwise(values[top:]))


@given(st.integers(1, 30), st.integers(0, 60), st.sampled_from([WarmupConstant, WarmupCosine, WarmupLinearDecay]))
def test_the_peak_is_reached_at_the_last_step_of_the_warmup(warmup: int, more: int, kind: type[LearningRate]) -> None:
    schedule = WarmupConstant(warmup) if kind is WarmupConstant else kind(warmup, 2 * warmup + more)  # type: ignore[call-arg]
    assert schedule.factor(warmup - 1) == 1
    assert [schedule.factor(step) for step in range(warmup)] == [(step + 1) / warmup for step in range(warmup)]


@given(PLANS, SHARES)
def test_the_end_is_where_it_was_said(plan: tuple[int, int], share: float) -> None:
    warmup, total = plan[0], plan[0] + plan[1]
    for step in (total, total + 7):
        assert WarmupCosine(warmup, total, share).factor(step) == pytest.approx(share)
        assert WarmupLinearDecay(warmup, total, share).factor(step) == 0
    assert WarmupLinearDecay(warmup, total, share).factor(total - 1) > 0


@given(st.integers(1, 60), SHARES)
def test_the_trapezoid_is_flat_until_its_last_share(total: int, share: float) -> None:
    schedule = WarmupLinearDecay(0, total, share)
    falling = max(1, round(share * total))
    assert [schedule.factor(step) for step in range(total)] == [
        min(1, (total - step) / falling) for step in range(total)
    ]


@given(schedules(), st.integers(0, 20))
def test_going_on_needs_only_the_step(schedule: LearningRate, stop: int) -> None:
    def steps(scheduler: Any, count: int) -> list[float]:
        rates: list[float] = []
        for _ in range(count):
            rates.append(scheduler.get_last_lr()[0])
            scheduler.optimizer.step()
            scheduler.step()
        return rates

    def fresh() -> Any:
        return lambda_lr(torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=3.0), schedule)

    whole = steps(fresh(), 30)
    assert whole == [3.0 * schedule.factor(step) for step in range(30)]
    first, second = fresh(), fresh()
    assert steps(first, stop) == whole[:stop]
    assert first.state_dict()["lr_lambdas"] == [None]
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert steps(second, 30 - stop) == whole[stop:]


def test_the_state_of_a_schedule_says_which_one_it_is() -> None:
    def of(schedule: LearningRate) -> Any:
        state = lambda_lr(torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=1.0), schedule).state_dict()
        assert "schedule" not in state
        return state["description"]

    assert of(WarmupCosine(2, 10)) == {"kind": "WarmupCosine", "warmup_steps": 2, "total_steps": 10, "final": 0.05}
    assert of(WarmupCosine(2).resolved(10)) != of(WarmupCosine(2).resolved(11))
    assert of(WarmupConstant(2).resolved(10)) == of(WarmupConstant(2).resolved(11))


@pytest.mark.parametrize("kind", [WarmupCosine, WarmupLinearDecay])
def test_an_open_length_is_that_of_the_trainer(kind: type[WarmupCosine | WarmupLinearDecay]) -> None:
    assert kind(3).resolved(40) == kind(3, 40)
    assert kind(3, 20).resolved(40) == kind(3, 20).resolved(-1) == kind(3, 20)
    with pytest.raises(ValueError, match="has no total_steps; give it or call resolved"):
        kind(3).factor(0)
    with pytest.raises(ValueError, match=r"max_steps=-1; set trainer.max_steps or the schedule's total_steps"):
        kind(3).resolved(-1)
    constant = WarmupConstant(2)
    assert constant.resolved(-1) is constant


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WarmupConstant(-1), "warmup_steps must be at least 0, got -1"),
        (lambda: WarmupCosine(-2, 5), "warmup_steps must be at least 0, got -2"),
        (lambda: WarmupLinearDecay(0, 0), "total_steps must be at least 1, got 0"),
        (lambda: WarmupCosine(0, 5, final=1.5), r"final is a share and must be in \[0, 1\], got 1.5"),
        (lambda: WarmupLinearDecay(0, 5, decay_share=-0.5), r"decay_share is a share .*, got -0.5"),
    ],
)
def test_wrong_numbers_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
