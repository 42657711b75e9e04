"""Drawn batches: functions of their number, in the wanted shares, never those of the evaluation."""

import inspect
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.data import Batch, ConditionDropout
from omnigen2.microworld import EASY, draw
from omnigen2.microworld.runs import MicroWorld
from omnigen2.microworld.tasks import FAMILIES, from_json, kinds_of
from tests.training.flow_parts import MIXED, world

KINDS = {
    "add": "add", "remove": "remove", "take": "remove", "replace": "replace", "make": "recolour", "change": "recolour",
    "move": "move",
}  # fmt: skip
"""The kind of an edit, by the first word of its instruction."""


def same(one: Batch, other: Batch) -> bool:
    pairs = zip(one.examples, other.examples, strict=True)
    return all(
        a.instruction == b.instruction
        and a.prompt_dropped == b.prompt_dropped
        and all(torch.equal(x, y) for x, y in zip((*a.references, a.target), (*b.references, b.target), strict=True))
        for a, b in pairs
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 50), st.integers(0, 3))
def test_a_batch_is_a_function_of_seed_and_number(step: int, seed: int) -> None:
    assert same(world(seed=seed).batch(step), world(seed=seed, steps=99).batch(step))
    assert not same(world(seed=seed).batch(step), world(seed=seed).batch(step + 1))
    assert not same(world(seed=seed).batch(step), world(seed=seed + 1).batch(step))


def test_families_have_their_shares() -> None:
    data = world(batch_size=100, families={"text_to_image": 1, "edit": 2, "in_context": 1}, dropout=None)
    found = Counter(example.task for step in range(10) for example in data.batch(step).examples)
    # 1000 draws: four standard deviations are 0.063 for a half, so a fair coin fails once in 16,000 runs
    assert found["edit"] / 1000 == pytest.approx(0.5, abs=0.063)
    assert found["text_to_image"] / 1000 == pytest.approx(0.25, abs=0.055)


def test_kinds_come_equally_often() -> None:
    data = world(batch_size=60, families={"edit": 1}, dropout=None)
    starts = Counter(KINDS[example.instruction.split()[0]] for example in data.batch(3).examples)
    assert starts == dict.fromkeys(kinds_of("edit", EASY), 60 // len(kinds_of("edit", EASY)))


def test_references_and_prompts_are_dropped_as_often_as_asked() -> None:
    data = world(batch_size=200, families={"edit": 1}, dropout=ConditionDropout(0.3, 0.5, "independently"))
    examples = [example for step in range(3) for example in data.batch(step).examples]
    dropped = [not example.instruction for example in examples]
    assert dropped == [example.prompt_dropped for example in examples]
    assert np.mean(dropped) == pytest.approx(0.3, abs=0.08)
    assert np.mean([not example.references for example in examples]) == pytest.approx(0.5, abs=0.09)


def test_validation_has_every_kind_and_its_task() -> None:
    data = world(64, validation=2)
    batch = data.validation_batch()
    assert len(batch) == 2 * len(data.kinds())
    assert same(batch, next(iter(data.val_dataloader())))
    for example in batch.examples:
        task = from_json(example.meta)
        assert len(example.references) == len(task.references)  # pyright: ignore[reportArgumentType]
        for scene, picture in zip(task.references, example.references, strict=True):  # pyright: ignore
            assert torch.equal(draw(scene, 64), picture)


def test_every_family_has_kinds() -> None:
    assert all(kinds_of(family, EASY) for family in FAMILIES)
    assert {family for family, _ in world().kinds()} == set(MIXED)
    assert {family for family, _ in world(families={"edit": 1, "in_context": 0}).kinds()} == {"edit"}


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match=r"one of them positive, got \{'edit': 0"):
        MicroWorld(16, 1, families={"edit": 0})
    unchecked = inspect.unwrap(MicroWorld.__init__)  # as in a recipe, whose parser lets any name pass
    with pytest.raises(ValueError, match="no family editt; expected any of text_to_image, edit, in_context"):
        unchecked(MicroWorld.__new__(MicroWorld), 16, 1, families={"editt": 1.0})
    with pytest.raises(ValueError, match="batch_size >= 1.*got 0, 8 and 0"):
        MicroWorld(16, 1, batch_size=0)
    with pytest.raises(ValueError, match="steps must be at least 1"):
        MicroWorld(16, 0).train_dataloader()
