"""The laws of mixing and packing: every sample once, weights obeyed, budgets kept, any place restored."""

import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.data import DataError, Planner, SampleSizes, TokenBudget
from omnigen2.data.batches.planner import Pick
from tests.data.cases import POLICY, Sizes, texts

sides = st.integers(1, 90)
sizes = st.builds(
    SampleSizes,
    text_tokens=st.integers(10, 30),
    references=st.lists(st.tuples(sides, sides), max_size=3).map(tuple),
    target=st.none() | st.tuples(sides, sides),
)
sources = st.dictionaries(st.sampled_from("abcd"), st.lists(sizes, min_size=1, max_size=9).map(Sizes), min_size=1)
mixings = st.sampled_from(["batch", "sample"])
BIGGEST = 30 + 64 + 3 * 16


def planner(sources, tokens=BIGGEST, mixing="batch", seed=0, weights=None, **budget) -> Planner:
    return Planner(sources, weights or dict.fromkeys(sources, 1), TokenBudget(tokens, POLICY, **budget), mixing, seed)


def drawn(steps: list[tuple[tuple[Pick, ...], ...]]) -> list[Pick]:
    return [pick for step in steps for batch in step for pick in batch]


@given(sources=sources, mixing=mixings, world=st.integers(1, 3), seed=st.integers(0, 99))
def test_every_sample_of_an_epoch_comes_exactly_once(sources, mixing, world, seed) -> None:
    plan = planner(sources, mixing=mixing, seed=seed)
    picks = drawn([plan.next_step(world) for _ in range(15)])
    assert len(set(picks)) == len(picks)
    for name, source in sources.items():
        own = [pick for pick in picks if pick.source == name]
        for epoch in range(own[-1].epoch if own else 0):
            assert sorted(p.number for p in own if p.epoch == epoch) == list(range(len(source)))
        assert [pick.epoch for pick in own] == sorted(pick.epoch for pick in own)


@given(sources=sources, mixing=mixings, tokens=st.integers(1, 2 * BIGGEST), most=st.none() | st.integers(1, 4))
def test_no_batch_is_above_its_budget(sources, mixing, tokens, most) -> None:
    plan = planner(sources, tokens, mixing, oversized="skip", max_samples=most)
    fits = {name: [plan.budget.cost(s) <= tokens for s in source.all] for name, source in sources.items()}
    if not all(any(fit) for fit in fits.values()):
        with pytest.raises(DataError, match=r"all \d+ samples of source . are above the budget: sample \d+ of source"):
            [plan.next_step(2) for _ in range(300)]
        return
    for batch in (batch for _ in range(12) for batch in plan.next_step(2)):
        assert 1 <= len(batch) <= (most or math.inf)
        assert sum(plan.budget.cost(sources[pick.source].sizes(pick.number)) for pick in batch) <= tokens
        assert all(fits[pick.source][pick.number] for pick in batch)
    state = plan.state_dict()
    for name, fit in fits.items():
        epochs = state["drawn"][name] // len(fit)
        assert plan.skipped[name] >= epochs * fit.count(False)


@given(sources=sources, mixing=mixings, before=st.integers(0, 8), world=st.integers(1, 3))
def test_a_restored_planner_goes_on_as_if_never_stopped(sources, mixing, before, world) -> None:
    whole = planner(sources, mixing=mixing)
    expected = [whole.next_step(world) for _ in range(before + 6)]
    first, second = planner(sources, mixing=mixing), planner(sources, mixing=mixing)
    head = [first.next_step(world) for _ in range(before)]
    second.load_state_dict(first.state_dict())
    assert head + [second.next_step(world) for _ in range(6)] == expected


@given(sources=sources, mixing=mixings, worlds=st.lists(st.integers(1, 4), min_size=2, max_size=6))
def test_a_change_of_ranks_loses_and_repeats_nothing(sources, mixing, worlds) -> None:
    plan = planner(sources, mixing=mixing)
    picks: list[Pick] = []
    for world in worlds:
        picks += drawn([plan.next_step(world) for _ in range(5)])
        other = planner(sources, mixing=mixing)
        other.load_state_dict(plan.state_dict())
        plan = other
    assert len(set(picks)) == len(picks)
    for name, source in sources.items():
        own = [pick for pick in picks if pick.source == name]
        assert own == [Pick(name, n // len(source), pick.number) for n, pick in enumerate(own)]


@pytest.mark.parametrize("mixing", ["batch", "sample"])
def test_one_to_nine_on_two_hundred_samples_gives_that_frequency(mixing) -> None:
    # The released loader gives 1:1 here. 4000 independent draws with p = 0.1: a sound mixture leaves five standard
    # deviations with a probability below 6e-7.
    plan = planner({"a": texts(100), "b": texts(100)}, 1, mixing, weights={"a": 1, "b": 9})
    count = Counter(pick.source for pick in drawn([plan.next_step(1) for _ in range(4000)]))
    assert abs(count["a"] - 400) < 5 * math.sqrt(4000 * 0.1 * 0.9)
    assert count.total() == 4000


@settings(max_examples=10)
@given(
    weights=st.lists(st.integers(0, 10), min_size=2, max_size=4).filter(any), seed=st.integers(0, 10**6), mixing=mixings
)
def test_frequencies_follow_the_weights(weights, seed, mixing) -> None:
    # each count is binomial; 10 examples of at most 4 counts leave 6 standard deviations with probability < 1e-7
    names = "abcd"[: len(weights)]
    plan = planner(
        {n: texts(7 + i) for i, n in enumerate(names)}, 1, mixing, seed, dict(zip(names, weights, strict=True))
    )
    count = Counter(pick.source for pick in drawn([plan.next_step(1) for _ in range(1000)]))
    for name, weight in zip(names, weights, strict=True):
        p = weight / sum(weights)
        assert abs(count[name] - 1000 * p) <= 6 * math.sqrt(1000 * p * (1 - p))


@given(sources=sources, world=st.integers(1, 4))
def test_a_step_has_one_task_on_all_ranks(sources, world) -> None:
    plan, alone = planner(sources), planner(sources)
    for _ in range(20):
        kinds = {pick.source for batch in plan.next_step(world) for pick in batch}
        assert kinds == {alone.next_step(1)[0][0].source}


def test_samples_of_several_tasks_share_a_batch() -> None:
    plan = planner({"a": texts(50), "b": texts(50)}, 20, "sample")
    assert {pick.source for pick in plan.next_step(1)[0]} == {"a", "b"}
    assert all(len(batch) == 20 for batch in plan.next_step(3))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    def order(seed: int, name: str, epoch: int) -> list[int]:
        plan = planner({name: texts(50)}, 1, seed=seed)
        return [pick.number for pick in drawn([plan.next_step(1) for _ in range(100)]) if pick.epoch == epoch]

    orders = [order(0, "a", 0), order(0, "a", 1), order(1, "a", 0), order(0, "b", 0)]
    assert len({tuple(o) for o in orders}) == 4
    assert order(0, "a", 1) == orders[1]


def test_a_source_of_weight_0_is_never_drawn_even_if_empty() -> None:
    plan = planner({"a": texts(3), "b": texts(3), "none": Sizes([])}, 1, weights={"a": 1, "b": 0, "none": 0})
    assert {pick.source for pick in drawn([plan.next_step(2) for _ in range(50)])} == {"a"}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": -1.0, "b": 2}, r"weight of a is -1.0; give a finite number"),
        ({"a": math.nan, "b": 2}, r"weight of a is nan"),
        ({"a": math.inf, "b": 2}, r"weight of a is inf"),
        ({"a": 0, "b": 0}, r"all weights are 0 \(a, b\); make one"),
        ({"a": 1}, r"weights for \['a'\], sources are \['a', 'b'\]"),
        ({"a": 1, "b": 1}, r"b has no samples but a weight above 0; fill it"),
    ],
)
def test_impossible_mixtures_are_refused(weights, message) -> None:
    with pytest.raises(DataError, match=message):
        planner({"a": texts(2), "b": Sizes([])}, weights=weights)


def test_no_sources_and_negative_seeds_are_refused() -> None:
    with pytest.raises(DataError, match=r"all weights are 0 \(no sources\)"):
        Planner({}, {}, TokenBudget(1))
    with pytest.raises(DataError, match="seed must be at least 0, got -1"):
        planner({"a": texts(1)}, seed=-1)
    with pytest.raises(DataError, match="world must be at least 1 rank, got 0"):
        planner({"a": texts(1)}).next_step(0)


def test_a_sample_above_the_budget_is_named() -> None:
    plan = planner({"a": texts(2, tokens=9)}, 8)
    with pytest.raises(
        DataError, match=r"sample \d of source a takes 9 tokens, a batch has 8; raise .*\n  set oversized to skip"
    ):
        plan.next_step(1)


def test_a_budget_that_shrinks_to_nothing_during_a_run_ends_in_an_error() -> None:
    state = planner({"a": texts(5, tokens=4)}, 4)
    for _ in range(7):
        state.next_step(1)
    other = planner({"a": texts(5, tokens=4)}, 3, oversized="skip")
    other.load_state_dict(state.state_dict())
    with pytest.raises(DataError, match="all 5 samples of source a are above the budget"):
        other.next_step(1)


def test_other_data_or_another_seed_does_not_go_on() -> None:
    state = planner({"a": texts(5)}).state_dict()
    for other in (planner({"a": texts(6)}), planner({"b": texts(5)}), planner({"a": texts(5)}, seed=1)):
        with pytest.raises(DataError, match=r"made with the sources \{'a': 5\} \(name: samples\) and seed 0, but"):
            other.load_state_dict(state)
    changed = Planner({"a": texts(5)}, {"a": 3}, TokenBudget(2), "sample")
    changed.load_state_dict(state)
