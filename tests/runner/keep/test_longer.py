"""Which changed settings are those of a longer run, and which schedules may not be prolonged."""

from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from omnigen2.runner.keep.longer import asks_for_more, differing

STEPS, EPOCHS = "trainer.max_steps", "trainer.max_epochs"


@pytest.mark.parametrize(
    ("changes", "more"),
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
def test_more_steps_and_nothing_else(changes: dict[str, tuple[Any, Any]], more: bool) -> None:
    assert asks_for_more(changes) == more


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
