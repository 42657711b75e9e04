"""The loader: exact resume, any workers, every sample once over ranks and workers; dropout; broken images."""

import os
import pickle
import signal
import time
from itertools import islice
from multiprocessing import active_children

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.data import (
    Batch,
    Collate,
    ConditionDropout,
    DataError,
    ListSource,
    Mixture,
    Pick,
    PixelRange,
    Planner,
    Replica,
    Sample,
    SampleSizes,
    TokenBudget,
)
from tests.data.cases import POLICY, answer, drawing, edit, picture, three_tasks

DROPOUT = ConditionDropout(0.3, 0.5)


def mixture(steps: int = 12, tokens: int = 300, **settings) -> Mixture:
    return Mixture(three_tasks(tokens=tokens), Collate(DROPOUT), steps, **settings)


def looks(batch: Batch) -> list:
    """Everything that a batch holds, comparable."""
    return [
        (
            e.key,
            e.instruction,
            e.prompt_dropped,
            [r.tolist() for r in e.references],
            e.target is not None and e.target.tolist(),
        )
        for e in batch.examples
    ]


def endless(loader: Mixture):
    while True:
        yield from loader


@settings(max_examples=5)
@given(stop=st.integers(0, 13), steps=st.integers(1, 9))
def test_a_restored_loader_goes_on_where_the_first_one_stopped(stop: int, steps: int) -> None:
    whole = [looks(batch) for batch in islice(endless(mixture(steps)), 16)]
    first, second = mixture(steps), mixture(steps)
    head = [looks(batch) for batch in islice(endless(first), stop)]
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    assert head + [looks(batch) for batch in islice(endless(second), 16 - stop)] == whole


@pytest.mark.parametrize(("before", "after"), [(2, 2), (2, 0), (0, 2), (1, 2)])
def test_resume_is_exact_with_any_number_of_workers(before: int, after: int) -> None:
    whole = [looks(batch) for batch in mixture()]
    first, second = mixture(workers=before), mixture(workers=after)
    head = [looks(batch) for batch in islice(first, 5)]
    second.load_state_dict(first.state_dict())
    assert head + [looks(batch) for batch in second] == whole


@pytest.mark.parametrize(("world", "workers"), [(3, 0), (2, 2)])
def test_every_sample_of_an_epoch_once_over_ranks_and_workers(world: int, workers: int) -> None:
    def keys(steps: int, replica: Replica) -> list[str]:
        planner = Planner({"d": ListSource([drawing(i) for i in range(40)])}, {"d": 1}, TokenBudget(750, POLICY))
        return [e.key for b in Mixture(planner, Collate(), steps, workers, replica=replica) for e in b.examples]

    seen = [key for rank in range(world) for key in keys(9, Replica(rank, world))]
    assert len(seen) >= 40
    for rank in range(world):  # a part of each epoch
        own = keys(9, Replica(rank, world))
        assert len(set(own[: 40 // world])) == 40 // world
    assert set(seen) == {f"s:{i}" for i in range(40)}


def test_a_change_of_ranks_loses_and_repeats_nothing() -> None:
    def begin(world: int) -> list[Mixture]:
        return [Mixture(three_tasks(tokens=300), Collate(), 100, replica=Replica(r, world)) for r in range(world)]

    def keys(loaders: list[Mixture], steps: int) -> list[tuple[str, str]]:
        return [(e.source, e.key) for loader in loaders for batch in islice(loader, steps) for e in batch.examples]

    two, three = begin(2), begin(3)
    seen = keys(two, 2)
    positions = [loader.position for loader in two]
    state = begin(1)[0].state_dict() | {"planner": two[0].planner.state(*(p for p in positions if p is not None))}
    for loader in three:
        loader.load_state_dict(pickle.loads(pickle.dumps(state)))
    seen += keys(three, 1)
    assert {step["step"] for loader in three if (step := loader.position) is not None} == {3}
    assert len(seen) == len(set(seen))  # no source has come to its second epoch


def test_the_position_of_ranks_that_cannot_be_asked_is_refused() -> None:
    loader = mixture(replica=Replica(0, 2))
    assert loader.state_dict()["planner"]["ranks"] == []
    next(iter(loader))
    with pytest.raises(DataError, match=r"Replica\(rank=0, world=2\) has no process group to ask the other ranks"):
        loader.state_dict()
    loader.replica = Replica(0, 1)
    with pytest.raises(DataError, match=r"was begun as Replica\(rank=0, world=2\) and is now .*load its state first"):
        next(iter(loader))


def test_the_loader_leaves_the_global_random_state_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    list(islice(mixture(), 3))
    assert torch.equal(torch.get_rng_state(), before)


def test_training_goes_on_and_validation_repeats() -> None:
    train, validate = mixture(4), mixture(4, epochs="repeat")
    assert [looks(b) for b in train] != [looks(b) for b in train]
    next(iter(validate))  # what Lightning's sanity check does
    assert [looks(b) for b in validate] == [looks(b) for b in validate]
    assert len(train) == 4


def test_batches_are_within_the_budget_and_pixels_within_range() -> None:
    for batch in mixture(30, tokens=300):
        text = [128 + len(example.instruction) for example in batch.examples]
        layout = batch.layout(text)
        assert layout.tokens <= 300
        assert [tuple(p.shape[1:]) for p in batch.targets] == [
            (8 * s.height, 8 * s.width) for s in layout.images("target")
        ]
        assert [tuple(p.shape[1:]) for p in batch.references] == [
            (8 * s.height, 8 * s.width) for s in layout.images("reference")
        ]
        assert all(p.dtype == torch.float32 and p.abs().max() <= 1 for p in (*batch.targets, *batch.references))
        assert batch.instructions == tuple(e.instruction for e in batch.examples)
        assert batch.to("meta").layout(text) == layout


def test_dropout_has_the_probabilities_that_were_asked_for() -> None:
    # 4000 draws: 5 standard deviations, probability below 6e-7 each
    dropout = ConditionDropout(0.3, 0.5, seed=1)
    drops = [dropout(Pick("a", epoch, number)) for epoch in range(4) for number in range(1000)]
    assert abs(sum(d.prompt for d in drops) - 1200) < 5 * (4000 * 0.3 * 0.7) ** 0.5
    assert abs(sum(d.references for d in drops) - 600) < 5 * (4000 * 0.15 * 0.85) ** 0.5
    assert all(d.prompt for d in drops if d.references)
    alone = [ConditionDropout(0.0, 0.5, "independently")(Pick("a", 0, number)) for number in range(4000)]
    assert abs(sum(d.references for d in alone) - 2000) < 5 * 1000**0.5
    assert not any(d.prompt for d in alone)
    # of 1000 samples, 0.3² + 0.7² = 58 % agree with themselves in another epoch or under another name
    for other in (drops[1000:2000], [dropout(Pick("b", 0, number)) for number in range(1000)]):
        agree = sum(one.prompt == two.prompt for one, two in zip(drops, other, strict=False))
        assert abs(agree - 580) < 5 * (1000 * 0.58 * 0.42) ** 0.5
    assert dropout(Pick("a", 3, 7)) == ConditionDropout(0.3, 0.5, seed=1)(Pick("a", 3, 7))
    assert ConditionDropout() == ConditionDropout(1e-4, 0.5, "with_prompt", 0)


def test_dropped_conditions_are_gone_and_answers_keep_theirs() -> None:
    sources = {"e": ListSource([edit(0)]), "q": ListSource([answer(0)])}
    batch = Collate(ConditionDropout(1, 1))([Pick("e", 0, 0), Pick("q", 0, 0)], sources, TokenBudget(999, POLICY))
    first, second = batch.examples
    assert (first.instruction, first.prompt_dropped, first.references) == ("", True, ())
    assert first.target is not None
    assert (second.instruction, second.prompt_dropped, second.answer) == ("0?", False, "0")


def broken() -> Planner:
    samples = [drawing(0), Sample("text_to_image", "x", target=picture()[:60], key="broken:7"), drawing(2)]
    source = ListSource(samples)
    source._sizes[1] = source.sizes(0)
    return Planner({"d": source}, {"d": 1}, TokenBudget(10_000, POLICY, max_samples=3))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_named(workers: int) -> None:
    with pytest.raises(
        DataError,
        match=r"^sample 1 of source d \(broken:7\): image file of broken:7 cannot be read.*\n.*broken='skip' \(in a",
    ):
        list(Mixture(broken(), Collate(), 1, workers))


def test_workers_outlive_a_stop_of_all_processes_and_end_with_the_loader() -> None:
    expected = [[e.key for e in batch.examples] for batch in mixture(40)]
    batches = iter(mixture(40, workers=2))
    got = [next(batches)]
    workers = active_children()
    assert len(workers) == 2
    for worker in workers:
        os.kill(worker.pid or 0, signal.SIGTERM)
        time.sleep(0.1)
        assert worker.is_alive()
    got += batches
    assert [[e.key for e in batch.examples] for batch in got] == expected
    for worker in workers:
        worker.join(5)
        assert not worker.is_alive()


def test_skipped_broken_images_are_told_counted_and_not_replaced() -> None:
    loader = Mixture(broken(), Collate(broken="skip"), 2)
    with pytest.warns(UserWarning, match=r"left out: sample 1 of source d \(broken:7\): image file"):
        batches = list(loader)
    assert [len(batch) for batch in batches] == [2, 2]
    assert all("broken:7" in batch.broken[0] for batch in batches)
    assert loader.broken == 2
    again = Mixture(broken(), Collate(broken="skip"), 2)
    again.load_state_dict(loader.state_dict())
    assert again.broken == 2
    assert again.named == list(batches[0].broken)


def one_by_one(whole: int) -> Planner:
    """Samples that make a batch each: so many whole ones, and a broken one."""
    samples = [drawing(number) for number in range(whole)]
    source = ListSource([*samples, Sample("text_to_image", "x", target=picture()[:60], key="broken:7")])
    source._sizes[whole] = source.sizes(0) if whole else SampleSizes(1, (), (8, 8))
    return Planner({"d": source}, {"d": 1}, TokenBudget(10_000, POLICY, max_samples=1))


@pytest.mark.filterwarnings("ignore:left out")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_of_broken_images_only_has_the_next_in_its_place_also_after_a_restart(workers: int) -> None:
    expected = [batch.examples[0].key for batch in Mixture(one_by_one(2), Collate(broken="skip"), 8)]
    assert len(expected) == 8
    assert set(expected) == {"s:0", "s:1"}
    for done in range(1, 8):
        first = Mixture(one_by_one(2), Collate(broken="skip"), 8, workers)
        found = [batch.examples[0].key for batch in islice(first, done)]
        again = Mixture(one_by_one(2), Collate(broken="skip"), 8)
        again.load_state_dict(first.state_dict())
        found += [batch.examples[0].key for batch in again]
        assert found == expected, done
        if workers:
            break


@pytest.mark.filterwarnings("ignore:left out")
def test_without_anything_to_read_and_on_several_ranks_it_is_an_error() -> None:
    with pytest.raises(DataError, match=r"1 samples in a row are broken, the last of them: sample 0 of source d"):
        list(Mixture(one_by_one(0), Collate(broken="skip"), 8))
    with pytest.raises(DataError, match="all 1 samples of a batch are broken, and other ranks do not know it"):
        list(Mixture(one_by_one(2), Collate(broken="skip"), 8, replica=Replica(0, 2)))


def test_skipped_samples_are_counted_up_to_the_last_batch() -> None:
    source = ListSource([drawing(0, 64), drawing(1, 8)])
    loader = Mixture(Planner({"d": source}, {"d": 1}, TokenBudget(160, POLICY, "skip", 1)), Collate(), 4)
    assert {e.key for batch in loader for e in batch.examples} == {"s:1"}
    assert loader.skipped["d"] in (3, 4)


def test_buckets_by_resolution() -> None:
    source = ListSource([*(drawing(i, 8 * (1 + i % 4)) for i in range(12)), edit(0), answer(0)])
    small, large = PixelRange(source, 0, 16 * 16), PixelRange(source, 16 * 16)
    assert [small[i].key for i in range(len(small))] == ["s:0", "s:4", "s:8", "q:0"]
    assert len(large) == 10
    assert large.sizes(0).target == (16, 16)
    plan = Planner({"s": small, "l": large}, {"s": 1, "l": 3}, TokenBudget(300, POLICY)).begin(Replica(0, 1))
    picks = [p for _ in range(20) for p in plan.next_step() if p.source == "l" and p.epoch == 0]
    assert sorted(p.number for p in picks) == list(range(10))
    with pytest.raises(DataError, match=r"none of 14 samples has at least 9999 pixels \(they have 0 to 1024\)"):
        PixelRange(source, 9999)
    with pytest.raises(DataError, match="at_least is 5 and below is 5: no picture has so many pixels"):
        PixelRange(source, 5, 5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mixture(0), "steps must be at least 1, got 0"),
        (lambda: mixture(workers=-1), "workers must be at least 0, got -1"),
        (lambda: Replica(2, 2), "rank must be from 0 to world - 1, got rank 2 of 2"),
        (lambda: ConditionDropout(1.5), r"dropout probability of the prompt must be in \[0, 1\], got 1.5"),
        (lambda: ConditionDropout(0, -1), "of the references must be in"),
        (lambda: ConditionDropout(seed=-1), "seed must be at least 0, got -1"),
        (lambda: ListSource([]), "needs at least 1 sample, got none"),
    ],
)
def test_values_out_of_range_are_refused(make, message) -> None:
    with pytest.raises(DataError, match=message):
        make()
