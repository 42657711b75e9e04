from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.rl import group_advantages
from tests.rl.cases import parity

Scale = Literal["group", "batch"]
over_scales = pytest.mark.parametrize("scale", ["group", "batch"])


@dataclass(frozen=True)
class Batch:
    rewards: Tensor
    group: list[int]
    valid: Tensor


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """Rewards on a grid, so that ties and constant groups happen; group ids are any integers, mixed up."""
    size = draw(st.integers(1, 24))
    column = st.lists(st.integers(0, 10), min_size=size, max_size=size)
    rewards = torch.tensor(draw(column), dtype=torch.float64) / 10 + draw(st.sampled_from([0, 0.3, -5]))
    group = draw(st.lists(st.sampled_from([-3, 0, 7, 10**12]), min_size=size, max_size=size))
    valid = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    return Batch(rewards, group, torch.tensor(valid))


def members(batch: Batch, of: int) -> Tensor:
    return torch.tensor([own == of for own in batch.group]) & batch.valid


@over_scales
@given(batches())
def test_advantages_of_a_group_sum_to_zero(scale: Scale, batch: Batch) -> None:
    values = group_advantages(batch.rewards, batch.group, batch.valid, scale).values
    for group in set(batch.group):
        assert values[members(batch, group)].sum().abs() < 1e-5
    assert (values[~batch.valid] == 0).all()


@given(batches())
def test_unit_variance_in_every_group_that_teaches(batch: Batch) -> None:
    found = group_advantages(batch.rewards, batch.group, batch.valid, epsilon=0)
    variances = [found.values[members(batch, group)] for group in set(batch.group)]
    teaching = [own for own in variances if len(own) >= 2 and (own != 0).any()]
    assert len(teaching) == found.kept - found.constant
    for own in teaching:
        assert own.square().mean() == pytest.approx(1, abs=1e-5)


@over_scales
@given(batch=batches(), shift=st.floats(-10, 10), factor=st.floats(0.1, 10))
def test_shifting_and_scaling_rewards_changes_nothing(scale: Scale, batch: Batch, shift: float, factor: float) -> None:
    """Scaling is exact without epsilon; a shift moves each group by itself."""
    moved = batch.rewards * factor + shift * torch.tensor([own % 5 for own in batch.group])
    if scale == "batch":
        moved = batch.rewards * factor + shift
    before = group_advantages(batch.rewards, batch.group, batch.valid, scale, epsilon=0)
    after = group_advantages(moved, batch.group, batch.valid, scale, epsilon=0)
    teaching = before.values != 0
    torch.testing.assert_close(after.values[teaching], before.values[teaching], rtol=1e-4, atol=1e-4)


@over_scales
@given(st.floats(-100, 100, width=32), st.integers(2, 7))
def test_a_constant_group_gives_zero(scale: Scale, reward: float, size: int) -> None:
    """Also where the mean of equal numbers is not that number, and beside a group that is not constant."""
    rewards = torch.tensor([reward] * size + [0.0, 1.0])
    found = group_advantages(rewards, [4] * size + [5, 5], scale=scale, epsilon=0)
    assert (found.values[:size] == 0).all()
    assert found.values[-1] > 0
    assert (found.kept, found.dropped, found.constant, found.constant_share) == (2, 0, 1, 0.5)


@over_scales
@given(batch=batches(), at=st.integers(0, 100), reward=st.sampled_from([float("nan"), float("inf"), 1e9]))
def test_an_invalid_member_changes_nobody_else(scale: Scale, batch: Batch, at: int, reward: float) -> None:
    at %= len(batch.group) + 1
    rewards = torch.cat([batch.rewards[:at], torch.tensor([reward]).double(), batch.rewards[at:]])
    valid = torch.cat([batch.valid[:at], torch.tensor([False]), batch.valid[at:]])
    group = [*batch.group[:at], batch.group[0], *batch.group[at:]]
    without = group_advantages(batch.rewards, batch.group, batch.valid, scale)
    found = group_advantages(rewards, group, valid, scale)
    assert found.values[at] == 0
    assert torch.equal(torch.cat([found.values[:at], found.values[at + 1 :]]), without.values)
    assert (found.kept, found.dropped, found.constant) == (without.kept, without.dropped, without.constant)


@over_scales
@given(batches(), st.integers(0, 2**31))
def test_order_and_names_of_groups_do_not_matter(scale: Scale, batch: Batch, seed: int) -> None:
    """So it does not matter how members lie on the ranks that they were gathered from."""
    order = torch.randperm(len(batch.group), generator=torch.Generator().manual_seed(seed))
    renamed = torch.tensor([3 * own + 1 for own in batch.group])
    here = group_advantages(batch.rewards, batch.group, batch.valid, scale).values
    there = group_advantages(batch.rewards[order], renamed[order], batch.valid[order], scale).values
    torch.testing.assert_close(there, here[order])


@given(batches())
def test_every_group_is_kept_or_dropped(batch: Batch) -> None:
    found = group_advantages(batch.rewards, batch.group, batch.valid)
    sizes = [int(members(batch, group).sum()) for group in set(batch.group)]
    assert found.kept == sum(size >= 2 for size in sizes)
    assert found.dropped == sum(size < 2 for size in sizes)
    for group in set(batch.group):
        if members(batch, group).sum() < 2:
            assert (found.values[members(batch, group)] == 0).all()


def test_nobody_valid() -> None:
    for rewards, group in ((torch.zeros(0), []), (torch.full((2,), float("nan")), [1, 1])):
        found = group_advantages(rewards, group, torch.zeros(len(group), dtype=torch.bool), "batch")
        assert (found.values == 0).all()
        assert found.kept == found.constant == 0
        assert found.constant_share != found.constant_share


def test_wrong_inputs_are_refused() -> None:
    rewards = torch.tensor([0.0, float("nan"), 2.0])
    with pytest.raises(ValueError, match=r"rewards of members \[1\] are \[nan\] but marked as valid"):
        group_advantages(rewards, [0, 0, 0])
    with pytest.raises(ValueError, match="got 3 rewards, 2 group ids and 3 marks"):
        group_advantages(rewards, [0, 0])
    with pytest.raises(ValueError, match=r"epsilon must be finite and not negative, got -1\.0"):
        group_advantages(rewards, [0, 0, 0], epsilon=-1.0)


def ids(prompts: list[str]) -> list[int]:
    return [sorted(set(prompts)).index(prompt) for prompt in prompts]


@over_scales
def test_parity_rl_advantages(scale: Scale) -> None:
    tensors, case, tolerance = parity("rl_advantages")
    settings = case["hyperparameters"]
    found = group_advantages(
        tensors["inputs.rewards"], ids(settings["prompts"]), scale=scale, epsilon=settings["epsilon"]
    )
    torch.testing.assert_close(found.values, tensors[f"outputs.advantage_{scale}"], **tolerance)
    torch.testing.assert_close(found.values[:6], tensors[f"outputs.advantage_{scale}_first_half_rank"], **tolerance)
    assert (found.kept, found.dropped, found.constant) == (3, 1, 1)


def test_parity_fgrpo_advantages() -> None:
    """The rules of flow_grpo that are GRPO's; its rwr, sft and dpo pseudo-advantages are not ours."""
    tensors, case, tolerance = parity("fgrpo_advantages")
    settings, group = case["hyperparameters"], ids(case["hyperparameters"]["prompts"])
    rewards, epsilon = tensors["inputs.rewards"], settings["epsilon"]
    for scale, name in (("group", "grpo_group"), ("batch", "grpo_global")):
        found = group_advantages(rewards, group, scale=scale, epsilon=epsilon).values
        torch.testing.assert_close(found.double(), tensors[f"outputs.{name}"].double(), **tolerance)
    everyone = group_advantages(rewards, [0] * len(rewards), epsilon=epsilon).values
    torch.testing.assert_close(everyone.double(), tensors["outputs.no_tracking"].double(), **tolerance)


def test_parity_rl_advantages_undo_to_the_rewards_by_the_official_statistics() -> None:
    """The mean and the deviation that the official code reports of each prompt are those that ours are made with."""
    tensors, case, tolerance = parity("rl_advantages")
    prompts, stats = case["hyperparameters"]["prompts"], case["values"]["prompt_stats"]
    rewards = tensors["inputs.rewards"]
    values = group_advantages(rewards, ids(prompts), epsilon=case["hyperparameters"]["epsilon"]).values.double()
    mean, std = (
        torch.tensor([stats[prompt][name] for prompt in prompts], dtype=torch.float64) for name in ("mean", "std")
    )
    torch.testing.assert_close(values * std + mean, rewards.double(), **tolerance)
