"""The laws of mixing and packing: every sample once, weights obeyed, budgets kept, any place restored."""

import json
import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.data import DataError, Pick, Plan, Planner, Replica, SampleSizes, TokenBudget
from omnigen2.data.batches.order import EpochOrder, order_key
from omnigen2.data.batches.planner import PlannerState
from tests.data.cases import POLICY, Chunked, Sizes, texts

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


def begin(planner: Planner, world: int, state: PlannerState | None = None) -> list[Plan]:
    return [planner.begin(Replica(rank, world), state) for rank in range(world)]


def state_of(plans: Sequence[Plan]) -> PlannerState:
    """As a checkpoint brings it back."""
    return json.loads(json.dumps(plans[0].planner.state(*(plan.state() for plan in plans))))


def draw(plans: Sequence[Plan], steps: int) -> list[list[tuple[Pick, ...]]]:
    """Step by step, and in each by rank."""
    return [[plan.next_step() for plan in plans] for _ in range(steps)]


def flat(steps: list[list[tuple[Pick, ...]]]) -> list[Pick]:
    return [pick for step in steps for batch in step for pick in batch]


def drawn(planner: Planner, steps: int) -> list[Pick]:
    return flat(draw(begin(planner, 1), steps))


def left(planner: Planner, state: PlannerState, name: str) -> list[Pick]:
    """What ranks have not drawn of the epochs that any of them has begun."""
    (alone,) = begin(planner, 1, state)
    found: list[Pick] = []
    for epoch, parts, start, stop in alone.state()["sources"][name]["segments"]:
        order = EpochOrder(planner.sources[name].chunks(), parts, order_key(planner.seed, name, epoch))
        while start < stop:
            group = order.group(start)
            numbers = group.numbers[start - group.start : stop - group.start].tolist()
            found += [Pick(name, epoch, number) for number in numbers]
            start += len(numbers)
    return found


@given(
    sources=sources,
    mixing=mixings,
    worlds=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 4)), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_every_sample_of_an_epoch_comes_exactly_once_whatever_becomes_of_the_ranks(
    sources, mixing, worlds, seed
) -> None:
    plan, state = planner(sources, mixing=mixing, seed=seed), None
    picks: list[Pick] = []
    for world, steps in worlds:
        plans = begin(plan, world, state)
        picks += flat(draw(plans, steps))
        state = state_of(plans)
    for name, source in sources.items():
        own = [pick for pick in picks if pick.source == name] + left(plan, state, name)
        epochs = max((pick.epoch + 1 for pick in own), default=0)
        assert sorted(own) == [Pick(name, epoch, n) for epoch in range(epochs) for n in range(len(source))]


@given(sources=sources, mixing=mixings, tokens=st.integers(1, 2 * BIGGEST), most=st.none() | st.integers(1, 4))
def test_no_batch_is_above_its_budget(sources, mixing, tokens, most) -> None:
    plan = planner(sources, tokens, mixing, oversized="skip", max_samples=most)
    fits = {name: [plan.budget.cost(s) <= tokens for s in source.all] for name, source in sources.items()}
    plans = begin(plan, 2)
    if not all(any(fit) for fit in fits.values()):
        with pytest.raises(DataError, match=r"all \d+ samples of source . are above the budget: sample \d+ of source"):
            draw(plans, 100)
        return
    steps = draw(plans, 6)
    for batch in (batch for step in steps for batch in step):
        assert 1 <= len(batch) <= (most or math.inf)
        assert sum(plan.budget.cost(sources[pick.source].sizes(pick.number)) for pick in batch) <= tokens
        assert all(fits[pick.source][pick.number] for pick in batch)
    for name, fit in fits.items():
        skipped = sum(rank["sources"][name]["skipped"] for rank in state_of(plans)["ranks"])
        epochs = min(rank["sources"][name]["epoch"] for rank in state_of(plans)["ranks"]) - 1
        assert skipped >= epochs * fit.count(False)


@given(sources=sources, mixing=mixings, before=st.integers(0, 5), world=st.integers(1, 4))
def test_a_restored_planner_goes_on_as_if_never_stopped(sources, mixing, before, world) -> None:
    expected = draw(begin(planner(sources, mixing=mixing), world), before + 3)
    plans = begin(planner(sources, mixing=mixing), world)
    head = draw(plans, before)
    assert head + draw(begin(planner(sources, mixing=mixing), world, state_of(plans)), 3) == expected


@given(sources=sources, world=st.integers(2, 4), steps=st.integers(0, 5))
def test_a_rank_plans_the_same_whatever_the_others_do(sources, world, steps) -> None:
    together = draw(begin(planner(sources), world), steps)
    for rank, alone in enumerate(begin(planner(sources), world)):
        assert [alone.next_step() for _ in range(steps)] == [step[rank] for step in together]


def test_choices_of_sources_are_not_repeated_after_a_change_of_ranks() -> None:
    plan = planner({"a": texts(500), "b": texts(500)}, 20, "sample")
    plans = begin(plan, 3)
    before = draw(plans, 5)
    again = draw(begin(plan, 2, state_of(plans)), 5)
    for rank in range(2):
        chosen = [[pick.source for step in steps for pick in step[rank]] for steps in (before, again)]
        assert chosen[0] != chosen[1]


@given(lengths=st.lists(st.integers(1, 9), min_size=30, max_size=60), world=st.integers(1, 4))
def test_a_rank_reads_its_share_of_the_chunks(lengths, world) -> None:
    source = Chunked(lengths)
    for plan in begin(planner({"a": source}, 1), world):
        picks = [plan.next_step()[0] for _ in range(len(source) // world)]
        touched = {source.chunk(pick.number) for pick in picks if pick.epoch == 0}
        assert sum(lengths[chunk] for chunk in touched) <= len(source) / world + 2 * max(lengths)


def test_chunks_are_announced_before_they_are_needed_and_stay_so_while_batches_wait() -> None:
    source = Chunked([5] * 40, window=4)
    plan = planner({"a": source}, 1).begin(Replica(0, 1))
    for _ in range(200):
        (pick,) = plan.next_step()
        assert source.chunk(pick.number) in source.announced[-1]
    assert len(source.announced) in (10, 11)
    assert all(len(set(told)) <= 3 * 5 for told in source.announced)


@pytest.mark.parametrize("mixing", ["batch", "sample"])
def test_one_to_nine_on_two_hundred_samples_gives_that_frequency(mixing) -> None:
    # The released loader gives 1:1 here. 4000 independent draws with p = 0.1: a sound mixture leaves five standard
    # deviations with a probability below 6e-7.
    plan = planner({"a": texts(100), "b": texts(100)}, 1, mixing, weights={"a": 1, "b": 9})
    count = Counter(pick.source for pick in drawn(plan, 4000))
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
    count = Counter(pick.source for pick in drawn(plan, 1000))
    for name, weight in zip(names, weights, strict=True):
        p = weight / sum(weights)
        assert abs(count[name] - 1000 * p) <= 6 * math.sqrt(1000 * p * (1 - p))


@given(sources=sources, world=st.integers(1, 4))
def test_a_step_has_one_task_on_all_ranks(sources, world) -> None:
    alone = drawn(planner(sources, tokens=BIGGEST, max_samples=1), 8)
    for step, pick in zip(draw(begin(planner(sources), world), 8), alone, strict=True):
        assert {pick.source for batch in step for pick in batch} == {pick.source}


def test_samples_of_several_tasks_share_a_batch() -> None:
    plans = begin(planner({"a": texts(50), "b": texts(50)}, 20, "sample"), 3)
    for batch in draw(plans, 1)[0]:
        assert {pick.source for pick in batch} == {"a", "b"}
        assert len(batch) == 20


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    def order(seed: int, name: str, epoch: int) -> list[int]:
        plan = planner({name: texts(50)}, 1, seed=seed)
        return [pick.number for pick in drawn(plan, 100) if pick.epoch == epoch]

    orders = [order(0, "a", 0), order(0, "a", 1), order(1, "a", 0), order(0, "b", 0)]
    assert len({tuple(o) for o in orders}) == 4
    assert order(0, "a", 1) == orders[1]


def test_a_source_of_weight_0_is_never_drawn_even_if_empty() -> None:
    plan = planner({"a": texts(3), "b": texts(3), "none": Sizes([])}, 1, weights={"a": 1, "b": 0, "none": 0})
    assert {pick.source for pick in flat(draw(begin(plan, 2), 50))} == {"a"}


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


def test_a_sample_above_the_budget_is_named() -> None:
    plan = planner({"a": texts(2, tokens=9)}, 8)
    with pytest.raises(
        DataError, match=r"sample \d of source a takes 9 tokens, a batch has 8; raise .*\n  set oversized to skip"
    ):
        plan.begin(Replica(0, 1)).next_step()


def test_a_budget_that_shrinks_to_nothing_during_a_run_ends_in_an_error() -> None:
    plans = begin(planner({"a": texts(5, tokens=4)}, 4), 1)
    draw(plans, 7)
    (other,) = begin(planner({"a": texts(5, tokens=4)}, 3, oversized="skip"), 1, state_of(plans))
    with pytest.raises(DataError, match="all 5 samples of source a are above the budget"):
        other.next_step()


def test_one_sample_that_fits_is_found_among_many_that_do_not() -> None:
    source = Sizes([SampleSizes(9, (), None)] * 40 + [SampleSizes(1, (), None)])
    plans = begin(planner({"a": source}, 8, oversized="skip"), 3)
    assert {pick.number for pick in flat(draw(plans, 4))} == {40}


def test_other_data_or_another_seed_does_not_go_on() -> None:
    state = state_of(begin(planner({"a": texts(5)}), 1))
    for other in (planner({"a": texts(6)}), planner({"b": texts(5)}), planner({"a": texts(5)}, seed=1)):
        with pytest.raises(DataError, match=r"made with the sources \{'a': 5\} \(name: samples\) and seed 0, but"):
            other.begin(Replica(0, 1), state)
    for source in (Chunked([5]), Chunked([2, 3]), Chunked([1] * 5, window=4)):
        with pytest.raises(DataError, match="with other chunks of a, or with another window; use the same data"):
            planner({"a": source}).begin(Replica(0, 1), state)
    Planner({"a": texts(5)}, {"a": 3}, TokenBudget(2), "sample").begin(Replica(0, 1), state)
    del state["ranks"]
    with pytest.raises(DataError, match="position of another version of this library"):
        planner({"a": texts(5)}).check(state)
