"""What makes an iteration short: a shared start, few trained steps, pictures that teach nothing left out."""

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from omnigen2.generate import PackedBranches
from omnigen2.rl import RandomWindow, RewardRequest
from omnigen2.training.alignment.learner import Learner
from omnigen2.training.alignment.policy import MicroBatch
from omnigen2.training.alignment.rollout_worker import RolloutWorker
from tests.training.alignment.test_module import Gradients, column
from tests.training.grpo_parts import Redness, fit, grpo


def drawn_with(folder: Path, noise: str, tokens: int = 10_000, **settings: Any) -> list[MicroBatch]:
    """The parts of one iteration, behind one another."""
    made: list[list[list[MicroBatch]]] = []
    draw = RolloutWorker.draw

    def kept(self: RolloutWorker, plan: Any) -> Any:
        found = draw(self, plan)
        made.append(found.updates)
        return found

    folder.mkdir()
    selection = RandomWindow(2, skip_first=2)
    with patch.object(RolloutWorker, "draw", kept):
        fit(grpo(rollout={"noise": noise, "selection": selection, "tokens": tokens}, **settings), folder, 2)
    assert set(column(folder, "policy/ratio_first_max")) == {1.0}
    return [part for parts in made[0] for part in parts]


def by_group(parts: list[MicroBatch]) -> dict[int, list[Tensor]]:
    """The states of each picture."""
    found: dict[int, list[Tensor]] = {}
    for part in parts:
        states = part.rollout.trajectory.states.split(part.rollout.tokens, dim=1)
        for group, own in zip(part.rollout.group, states, strict=True):
            found.setdefault(group, []).append(own)
    return found


@pytest.mark.parametrize("tokens", [10_000, 150])
def test_pictures_of_a_group_branch_where_the_noise_begins(tokens: int, tmp_path: Path) -> None:
    """Also if a group is drawn in several parts."""
    shared = by_group(drawn_with(tmp_path / "shared", "group", tokens))
    assert len(shared) == 2
    for first, *others in shared.values():
        for other in others:
            assert torch.equal(other[:3], first[:3])
            assert not torch.equal(other[3], first[3])
    assert not torch.equal(*(states[0][0] for states in shared.values()))
    for first, *others in by_group(drawn_with(tmp_path / "apart", "member", tokens)).values():
        assert not any(torch.equal(other[0], first[0]) for other in others)


def test_the_start_is_drawn_once_a_group(tmp_path: Path) -> None:
    rows: list[int] = []

    original = PackedBranches.__call__

    def counted(self: PackedBranches, *arguments: Any) -> Tensor:
        rows.append(len(self.samples))
        return original(self, *arguments)

    with patch.object(PackedBranches, "__call__", counted):
        drawn_with(tmp_path / "run", "group", update={"updates": 1})
    # two steps of two groups, then two drawn and two trained steps of eight pictures
    assert rows[:4] == [2, 2, 8, 8]


class Halves(Redness):
    """The pictures of the first prompt are all alike."""

    def one(self, request: RewardRequest) -> Any:
        alike = request.key.split()[0] == self.asked[0][0].key.split()[0]
        return super().one(request.__class__("", torch.zeros(3, 4, 4)) if alike else request)


@pytest.mark.parametrize("tokens", [None, 600])
def test_leaving_out_what_teaches_nothing_changes_no_gradient(tokens: int | None, tmp_path: Path) -> None:
    found: list[dict[str, Tensor]] = []
    learned: list[int] = []
    accumulate = Learner._accumulate

    def counted(self: Learner, batch: MicroBatch, advantages: Tensor, *arguments: Any) -> None:
        learned.append(len(batch.members))
        assert len(advantages) == len(batch.members) == len(batch.samples)
        accumulate(self, batch, advantages, *arguments)

    for skip in (False, True):
        (folder := tmp_path / str(skip)).mkdir()
        update = {"skip_equal": skip, "updates": 1, "tokens": tokens, "max_norm": 1e9}
        kept = Gradients()
        learned.clear()
        with patch.object(Learner, "_accumulate", counted):
            fit(grpo(Halves(), update=update), folder, 1, kept)
        found.append(kept.found)
        assert sum(learned) == (8 if not skip else 4) or tokens is not None
        assert column(folder, "groups/constant_share") == [0.5]
    assert any(bool(gradient.any()) for gradient in found[0].values())
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=1e-7, rtol=1e-3)


def test_with_a_kl_nothing_is_left_out(tmp_path: Path) -> None:
    with patch.object(MicroBatch, "take", side_effect=AssertionError):
        fit(grpo(Halves(), update={"skip_equal": True}, kl=0.1), tmp_path, 2)
