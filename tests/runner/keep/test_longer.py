"""Which settings may differ when a run goes on, which are those of a longer run, and which schedules stay short."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from omnigen2.runner.keep.longer import asks_for_more, changes, differences, differing

STEPS, EPOCHS = "trainer.max_steps", "trainer.max_epochs"
Settings = dict[str, Any]


@dataclass(frozen=True)
class Reader:
    colour: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Reading:
    workers: int = 0
    text: int = 7
    reader: Reader = field(default_factory=Reader)


class Data:
    """Its batches are the same whoever reads them."""

    may_differ = ("reading.workers", "note")

    def __init__(self, reading: Reading | None = None, note: str = "", size: int = 3) -> None: ...


class Careless(Data):
    """Names a setting of a block of which nobody knows the defaults."""

    def __init__(self, reading: Settings | None = None) -> None: ...


def recipe(data: Settings, owner: type[Data] = Data, **trainer: Any) -> Settings:
    return {
        "trainer": trainer,
        "data": {"class_path": f"{__name__}.{owner.__name__}", "init_args": data},
        "model": None,
    }


BLOCK = {"workers": 4, "text": 7, "reader": {"colour": [1, 2]}}
INSIDE = "data.init_args.reading"


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        (recipe({}, devices=1), recipe({}, devices="2"), []),
        (recipe({}, strategy="auto"), recipe({}, strategy={"class_path": "x.DDP", "init_args": {"a": 1}}), []),
        (recipe({}, strategy={"init_args": {"a": 1}}), recipe({}, strategy={"init_args": {"a": 2}}), []),
        (recipe({}, accelerator="cpu", num_nodes=1, logger=False), recipe({}, accelerator="gpu", num_nodes=2), []),
        (recipe({}, devices=1, precision="32"), recipe({}, devices=2, precision="bf16"), ["trainer.precision"]),
        (recipe({}, strategy_of_mine=1), recipe({}, strategy_of_mine=2), ["trainer.strategy_of_mine"]),
        (recipe({"reading": BLOCK, "note": "a"}), recipe({"reading": BLOCK | {"workers": 1}, "note": "b"}), []),
        (recipe({"reading": None}), recipe({"reading": BLOCK}), []),
        (recipe({"reading": BLOCK}), recipe({"reading": None}), []),
        (recipe({"reading": None}), recipe({"reading": BLOCK | {"text": 8}}), [f"{INSIDE}.text"]),
        (recipe({"reading": None}), recipe({"reading": BLOCK | {"reader": {}}}), [f"{INSIDE}.reader.colour"]),
        (recipe({"reading": None}, Careless), recipe({"reading": BLOCK}, Careless), [INSIDE]),
        (recipe({"size": 3}), recipe({"size": 4}), ["data.init_args.size"]),
        (recipe({"note": "a"}), recipe({"note": "b"}) | {"data": None}, ["data"]),
    ],
)  # fmt: skip
def test_where_a_run_trains_and_what_its_classes_name_may_differ(old: Settings, new: Settings, keys: list[str]) -> None:
    assert list(differences(old, new)) == keys


trees = st.recursive(st.none() | st.integers(0, 2), lambda inner: st.dictionaries(st.sampled_from("abc"), inner))


@given(st.dictionaries(st.sampled_from("abc"), trees), st.dictionaries(st.sampled_from("abc"), trees))
def test_changes_lead_from_the_one_to_the_other(old: Settings, new: Settings) -> None:
    found = changes(old, new)
    assert not changes(new, new)
    assert {key: change[::-1] for key, change in changes(new, old).items()} == found
    for key, (before, after) in found.items():
        values: list[Any] = [old, new]
        for part in key.split("."):
            values = [value.get(part) for value in values]
        assert values == [before, after]
        *path, last = key.split(".")
        inner = old
        for part in path:
            inner = inner[part]
        inner[last] = after
    assert without_none(old) == without_none(new)


def without_none(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    return {key: without_none(value) for key, value in tree.items() if value is not None}


@pytest.mark.parametrize(
    ("found", "more"),
    [
        ({STEPS: (6, 8)}, True),
        ({EPOCHS: (1, 2)}, True),
        ({STEPS: (6, 8), "vars.steps": (6, 8), "data.init_args.steps": (6, 8)}, True),
        ({STEPS: (6, 8), EPOCHS: (1, 2), "data.init_args.epochs": (1, 2)}, True),
        ({}, False),
        ({STEPS: (8, 6)}, False),
        ({STEPS: (6, -1)}, False),
        ({STEPS: (-1, 6)}, False),
        ({STEPS: (6, 8), EPOCHS: (2, 1)}, False),
        ({"vars.steps": (6, 8)}, False),
        ({STEPS: (6, 8), "vars.lr": (6, 9)}, False),
        ({STEPS: (None, 8)}, False),
    ],
)
def test_more_steps_and_nothing_else(found: dict[str, tuple[Any, Any]], more: bool) -> None:
    assert asks_for_more(found) == more


def state(length: int, kind: str) -> dict[str, Any]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=1.0)
    if kind == "alone":
        return CosineAnnealingLR(optimizer, length).state_dict()
    parts = [LinearLR(optimizer, total_iters=2), CosineAnnealingLR(optimizer, length if kind == "inside" else 5)]
    return SequentialLR(optimizer, parts, [length if kind == "between" else 2]).state_dict()


@pytest.mark.parametrize(("kind", "key"), [("alone", "T_max"), ("inside", "T_max"), ("between", "milestones")])
def test_what_describes_a_schedule_is_compared_and_what_it_counts_is_not(kind: str, key: str) -> None:
    assert [found[0] for found in differing(state(6, kind), state(8, kind))] == [key]
    counted = state(6, kind) | {"last_epoch": 5, "_step_count": 6, "_last_lr": [0.5]}
    assert list(differing(counted, state(6, kind))) == []
