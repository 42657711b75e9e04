"""What holds for every reward: nothing is invented, and what is invalid says why."""

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.rl import (
    Clipped,
    Failure,
    Judgement,
    MeanOfPasses,
    Outcome,
    Reward,
    RewardError,
    RewardRequest,
    Scores,
    WeightedSum,
    check_scores,
    unusable_picture,
)

values = st.floats(-5, 5, width=32)
failures = st.builds(Failure, st.sampled_from(["unreadable", "deadline"]), st.sampled_from(["", "x: y"]), st.booleans())
outcomes = st.lists(
    st.one_of(values.map(lambda v: Judgement(v, {"twice": 2 * v}, "said")), failures), min_size=1, max_size=6
)


class Scripted(Reward):
    """Answers what it was given, one batch after the other."""

    low, high, description = -5.0, 5.0, "scripted"
    part_names = ("twice",)

    def __init__(self, *batches: Sequence[Outcome]) -> None:
        self.batches = list(batches)
        self.asked = 0

    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        self.asked += 1
        return Scores.collect(self.batches[(self.asked - 1) % len(self.batches)], self.part_names)

    def probe(self) -> None:
        raise RewardError("no server")


def requests(count: int) -> list[RewardRequest]:
    return [RewardRequest("draw", torch.zeros(3, 4, 4), key=f"sample {i}") for i in range(count)]


@given(outcomes)
def test_collected_scores_say_exactly_what_happened(found: list[Outcome]) -> None:
    scores = Scores.collect(found, ("twice",))
    assert scores.outcomes() == found
    assert scores.valid.tolist() == [isinstance(outcome, Judgement) for outcome in found]
    for i, outcome in enumerate(found):
        if isinstance(outcome, Failure):
            assert scores.problem[i] is outcome
            assert math.isnan(scores.value[i])
            assert math.isnan(scores.parts["twice"][i])
    causes = [outcome.cause for outcome in found if isinstance(outcome, Failure)]
    assert scores.causes() == {cause: causes.count(cause) for cause in causes}


@given(outcomes, outcomes, st.data())
def test_joining_and_taking_keep_what_belongs_to_each(
    first: list[Outcome], second: list[Outcome], data: st.DataObject
) -> None:
    joined = Scores.concatenate([Scores.collect(first, ("twice",)), Scores.collect(second, ("twice",))])
    assert joined.outcomes() == [*first, *second]
    members = data.draw(st.lists(st.integers(0, len(joined) - 1)))
    assert joined.take(members).outcomes() == [joined.outcomes()[member] for member in members]
    assert list(joined.take([]).parts) == ["twice"]


@given(outcomes, st.data(), st.floats(-3, 3).filter(bool), st.floats(-3, 3).filter(bool))
def test_a_weighted_sum_is_valid_where_all_are(found: list[Outcome], data: st.DataObject, a: float, b: float) -> None:
    other = data.draw(st.lists(st.one_of(values.map(lambda v: Judgement(v, {"twice": 0.0})), failures),
                               min_size=len(found), max_size=len(found)))  # fmt: skip
    total = WeightedSum({"one": Scripted(found), "two": Scripted(other)}, {"two": b, "one": a})
    scores = check_scores(total, requests(len(found)), total.score(requests(len(found))))
    for i, (x, y) in enumerate(zip(found, other, strict=True)):
        if isinstance(x, Judgement) and isinstance(y, Judgement):
            assert float(scores.value[i]) == pytest.approx(a * x.value + b * y.value, abs=1e-4)
            assert float(scores.parts["two"][i]) == pytest.approx(y.value)
        else:
            name, first = ("one", x) if isinstance(x, Failure) else ("two", y)
            assert isinstance(first, Failure)
            assert scores.problem[i] == Failure(f"{name} {first.cause}", first.detail, first.transient)


@given(outcomes)
def test_clipping_keeps_the_range_and_what_is_invalid(found: list[Outcome]) -> None:
    clipped = Clipped(Scripted(found), -1, 2)
    scores = check_scores(clipped, requests(len(found)), clipped.score(requests(len(found))))
    for i, outcome in enumerate(found):
        assert bool(scores.valid[i]) == isinstance(outcome, Judgement)
        if isinstance(outcome, Judgement):
            assert float(scores.value[i]) == min(2, max(-1, outcome.value))


@given(st.lists(st.one_of(values.map(lambda v: Judgement(v, {"twice": v})), failures), min_size=3, max_size=3),
       st.integers(1, 3))  # fmt: skip
def test_the_mean_of_passes_is_over_valid_ones(found: list[Outcome], needed: int) -> None:
    scores = MeanOfPasses(Scripted(*[[one] for one in found]), 3, needed).score(requests(1))
    valid = [one.value for one in found if isinstance(one, Judgement)]
    assert bool(scores.valid[0]) == (len(valid) >= needed)
    if len(valid) >= needed:
        assert float(scores.value[0]) == pytest.approx(sum(valid) / len(valid), abs=1e-5)
    else:
        assert scores.problem[0] == next(one for one in found if isinstance(one, Failure))


def test_combined_rewards_probe_their_parts() -> None:
    inner = Scripted([Failure("x")])
    for reward in (WeightedSum({"a": inner}, {"a": 1}), Clipped(inner, 0, 1), MeanOfPasses(inner, 2)):
        with pytest.raises(RewardError, match="no server"):
            reward.probe()


def test_scores_refuse_what_contradicts_itself() -> None:
    one = torch.ones(1)
    nan, yes, no = one * math.nan, torch.tensor([True]), torch.tensor([False])
    why = Failure("x")
    for value, valid, problem in [(nan, yes, None), (one, no, why), (one, yes, why), (nan, no, None)]:
        with pytest.raises(RewardError, match="member 0"):
            Scores(value, valid, {}, (problem,), ("",))
    with pytest.raises(RewardError, match="one entry per request"):
        Scores(one, yes, {}, (None, None), ("",))
    with pytest.raises(RewardError, match="float32"):
        Scores(one.double(), yes, {}, (None,), ("",))
    with pytest.raises(RewardError, match="float32, got {'part red': 'torch.bfloat16'}"):
        Scores(one, yes, {"red": one.bfloat16()}, (None,), ("",))
    with pytest.raises(RewardError, match="judgement 0 has the parts"):
        Scores.collect([Judgement(1.0, {"other": 1.0})], ("twice",))


def test_scores_are_checked_against_what_the_reward_promises() -> None:
    reward = Scripted([Judgement(7.0, {"twice": 1.0})])
    with pytest.raises(RewardError, match=r"gave 7.0 for sample 0, outside of its range \[-5.0, 5.0\]"):
        check_scores(reward, requests(1), reward.score(requests(1)))
    with pytest.raises(RewardError, match="1 scores for 2 requests"):
        check_scores(reward, requests(2), reward.score(requests(2)))


def test_settings_that_mean_nothing_are_refused() -> None:
    inner = Scripted([])
    with pytest.raises(RewardError, match="weight of a is 0"):
        WeightedSum({"a": inner}, {"a": 0})
    with pytest.raises(RewardError, match="give each a weight"):
        WeightedSum({"a": inner}, {"b": 1})
    with pytest.raises(RewardError, match="low < high"):
        Clipped(inner, 1, 1)
    with pytest.raises(RewardError, match="needed 4 and passes 3"):
        MeanOfPasses(inner, 3, 4)


def test_pictures_that_are_no_numbers_are_unusable() -> None:
    broken = torch.zeros(3, 4, 4)
    broken[0, 0, 0] = math.nan
    assert unusable_picture(RewardRequest("x", torch.zeros(3, 4, 4))) is None
    assert unusable_picture(RewardRequest("x", broken)) is not None
    assert unusable_picture(RewardRequest("x", torch.zeros(3, 4, 4), (broken,))) is not None
