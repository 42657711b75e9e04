"""Rewards came as a table, a list or an array, and what was learned were other advantages than theirs."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.flow import IdentityShift, UniformTimes
from omnigen2.rl import DiffusionNFTObjective, FlowGRPOObjective, Scores, group_advantages
from tests.rl.cases import drawn, parity

REWARDS, GROUP = [0.0, 1.0, 0.5, 0.25], [7, 7, 3, 3]
VALID = [True, True, True, False]
EXPECTED = group_advantages(torch.tensor(REWARDS), torch.tensor(GROUP), torch.tensor(VALID)).values


@pytest.mark.parametrize("made", [list, tuple, np.array, torch.tensor, lambda own: [np.float32(one) for one in own]])
def test_columns_of_any_kind_give_the_same(made: Any) -> None:
    valid = np.array(VALID) if made is np.array else VALID
    found = group_advantages(made(REWARDS), [int(one) for one in made(GROUP)], valid)
    assert torch.equal(found.values, EXPECTED)
    assert found.values.device.type == "cpu"


def test_arrays_that_cannot_be_written_and_numbers_of_other_widths_are_taken() -> None:
    rewards = np.array(REWARDS, dtype=np.float16)
    rewards.flags.writeable = False
    for own in (rewards, torch.tensor(REWARDS, dtype=torch.bfloat16), torch.tensor(REWARDS, requires_grad=True)):
        assert torch.equal(group_advantages(own, np.array(GROUP, dtype=np.int16), torch.tensor(VALID)).values, EXPECTED)


@pytest.mark.parametrize(
    ("rewards", "group", "valid", "message"),
    [
        (torch.zeros(2, 3), [0, 1], None, r"rewards has the shape \(2, 3\).*torch.arange\(prompts\).repeat_interleave"),
        ([[0.0, 1.0], [1.0, 0.0]], [0, 1], None, r"rewards has the shape \(2, 2\), expected \(members,\)"),
        (np.zeros((2, 1)), [0, 1], None, r"rewards has the shape \(2, 1\)"),
        (torch.tensor(1.0), [0], None, r"rewards has the shape \(\)"),
        ([0.0, 1.0], [[0], [1]], None, r"group has the shape \(2, 1\)"),
        ([0.0, 1.0], [0, 0], [[True], [True]], r"valid has the shape \(2, 1\)"),
        ([[0.0], [1.0, 2.0]], [0, 0], None, "rewards should be one column of numbers"),
        ([0.0, 1.0], ["a cat", "a cat"], None, "group should be one column of integers"),
        ([0.0, 1.0], [0.0, 0.5], None, "group holds torch.float64, expected integers"),
        ([0.0, 1.0, 2.0], [0, 0, 0], [1, 1, 0], "valid holds torch.int64, expected True or False"),
        (torch.zeros(2, dtype=torch.complex64), [0, 0], None, "rewards holds torch.complex64, expected numbers"),
        ([None, 1.0], [0, 0], None, "rewards should be one column of numbers"),
        ([float("nan"), 1.0], [0, 0], None, r"rewards of members \[0\] are \[nan\] but marked as valid"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(rewards: Any, group: Any, valid: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group_advantages(rewards, group, valid)


@pytest.mark.usefixtures("unchecked")
def test_another_scale_is_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="scale of group_advantages is 'prompt', expected one of 'group', 'batch'"):
        group_advantages(REWARDS, GROUP, scale="prompt")  # pyright: ignore[reportArgumentType]


def test_groups_of_one_and_of_equals_teach_nothing() -> None:
    found = group_advantages([3.0, 0.5, 0.5, 0.0, 1.0], [1, 2, 2, 3, 3], epsilon=0.0)
    assert found.values.tolist() == [0, 0, 0, -1, 1]
    assert (found.kept, found.dropped, found.constant) == (2, 1, 1)


@pytest.mark.parametrize(("scale", "name"), [("group", "grpo_2d_group"), ("batch", "grpo_2d_global")])
def test_parity_of_a_table_of_members_and_steps_column_by_column(scale: Any, name: str) -> None:
    """flow_grpo repeats the rewards over the steps, and compares within each column (by group, or with all columns)."""
    tensors, case, tolerance = parity("fgrpo_advantages")
    prompts = case["hyperparameters"]["prompts"]
    group, table = [sorted(set(prompts)).index(one) for one in prompts], tensors["inputs.rewards_2d"]
    columns = [group_advantages(own, group, None, scale, case["hyperparameters"]["epsilon"]).values for own in table.T]
    expected = tensors[f"outputs.{name}"]
    torch.testing.assert_close(torch.stack(columns, dim=1).double(), expected, **tolerance)


@pytest.mark.usefixtures("unchecked")
@given(st.integers(2, 4))
def test_a_column_of_one_number_per_sample_is_never_spread_over_other_samples(samples: int) -> None:
    case = drawn([2] * samples, [0.5] * samples, seed=0)
    right, wrong = torch.linspace(-1, 1, samples), torch.linspace(-1, 1, samples)[:, None]
    objective = FlowGRPOObjective(kl_weight=0.0)
    policy = case.score(case.velocity)
    with pytest.raises(ValueError, match=rf"advantages has the shape \({samples}, 1\), expected \({samples},\)"):
        objective(policy, case.step, wrong)
    with pytest.raises(ValueError, match=r"advantages has the shape \(1,\)"):
        objective(policy, case.step, right[:1])
    with pytest.raises(ValueError, match=rf"weight has the shape \({samples}, 1\)"):
        objective(policy, case.step, right, weight=wrong)
    nft, data = DiffusionNFTObjective(UniformTimes(), IdentityShift()), torch.zeros(2 * samples, 3)
    with pytest.raises(ValueError, match=rf"good has the shape \({samples}, 1\)"):
        nft(lambda x, t: x, lambda x, t: x, data, wrong, [2] * samples, torch.Generator().manual_seed(0))


@pytest.mark.usefixtures("unchecked")
def test_scores_are_columns() -> None:
    with pytest.raises(ValueError, match=r"value has the shape \(2, 1\)"):
        Scores(torch.zeros(2, 1), torch.ones(2, dtype=torch.bool), {}, (None, None), ("", ""))
    with pytest.raises(ValueError, match="valid"):
        Scores(torch.zeros(2), torch.ones(2), {}, (None, None), ("", ""))
