from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.rl import GroupSampler, Member, member_noise, micro_batches

samplers = st.builds(
    GroupSampler,
    prompts=st.integers(1, 12),
    groups=st.integers(1, 9),
    members=st.integers(2, 5),
    seed=st.integers(0, 99),
)


@given(sampler=samplers, iteration=st.integers(0, 20), world=st.integers(1, 9))
def test_all_ranks_together_draw_the_same_whatever_their_number(
    sampler: GroupSampler, iteration: int, world: int
) -> None:
    world = min(world, sampler.groups * sampler.members)
    (alone,) = sampler.plan(iteration)
    ranks = sampler.plan(iteration, world)
    assert tuple(member for rank in ranks for member in rank) == alone
    sizes = [len(rank) for rank in ranks]
    assert max(sizes) - min(sizes) <= 1
    assert sampler.plan(iteration, world) == ranks


@given(sampler=samplers, iterations=st.integers(1, 6))
def test_every_group_has_its_members_and_an_id_of_its_own(sampler: GroupSampler, iterations: int) -> None:
    run = [member for iteration in range(iterations) for member in sampler.plan(iteration)[0]]
    assert set(Counter(member.group for member in run).values()) == {sampler.members}
    assert len({member.group for member in run}) == iterations * sampler.groups
    assert len({(member.group, member.prompt) for member in run}) == iterations * sampler.groups
    assert len({member.seed for member in run}) == len(run)


@given(samplers, st.integers(1, 4))
def test_every_prompt_once_per_epoch(sampler: GroupSampler, epochs: int) -> None:
    iterations = -(-epochs * sampler.prompts // sampler.groups)
    run = [member for iteration in range(iterations) for member in sampler.plan(iteration)[0]]
    stream = [member.prompt for member in run[:: sampler.members]]
    for epoch in range(epochs):
        part = stream[epoch * sampler.prompts : (epoch + 1) * sampler.prompts]
        assert sorted(part) == list(range(sampler.prompts))


@given(sampler=samplers, iteration=st.integers(0, 3))
def test_a_group_may_start_from_one_noise(sampler: GroupSampler, iteration: int) -> None:
    def plan(shared: bool) -> tuple[Member, ...]:
        made = GroupSampler(sampler.prompts, sampler.groups, sampler.members, sampler.seed, shared)
        return made.plan(iteration)[0]

    together = plan(True)
    assert [member[:2] for member in together] == [member[:2] for member in plan(False)]
    assert len({member.seed for member in together}) == len({(m.group, m.seed) for m in together}) == sampler.groups


def test_order_depends_on_seed_and_epoch() -> None:
    def order(seed: int, iteration: int) -> list[int]:
        return [member.prompt for member in GroupSampler(50, 50, 2, seed).plan(iteration)[0]]

    assert len({tuple(order(seed, iteration)) for seed in (0, 1) for iteration in (0, 1)}) == 4


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(0, 6))
def test_noise_does_not_depend_on_the_batch(tokens: list[int], cut: int) -> None:
    members = [Member(0, 0, seed) for seed in range(len(tokens))]
    parts = [member_noise(members[part], tokens[part], (3,)) for part in (slice(cut), slice(cut, None))]
    assert torch.equal(torch.cat(parts), member_noise(members, tokens, (3,)))


def test_noise_is_standard_normal() -> None:
    """Statistical, fixed seeds: 64,000 numbers, bounds of 5 standard errors."""
    noise = member_noise([Member(0, 0, seed) for seed in range(200)], [20] * 200, (16,))
    assert noise.mean().abs() < 5 / 64000**0.5
    assert (noise.var() - 1).abs() < 5 * (2 / 64000) ** 0.5


@given(st.lists(st.integers(1, 20), max_size=12), st.integers(20, 50))
def test_micro_batches_are_all_samples_in_order_within_the_budget(costs: list[int], budget: int) -> None:
    parts = micro_batches(costs, budget)
    assert [sample for part in parts for sample in part] == list(range(len(costs)))
    assert all(0 < sum(costs[sample] for sample in part) <= budget for part in parts)
    for part, after in zip(parts, parts[1:], strict=False):
        assert sum(costs[sample] for sample in part) + costs[after[0]] > budget


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="GroupSampler needs members of at least 2, got 1"):
        GroupSampler(3, 2, 1)
    with pytest.raises(ValueError, match="GroupSampler needs prompts of at least 1, got 0"):
        GroupSampler(0, 2, 2)
    with pytest.raises(ValueError, match=r"1 to 4 ranks \(2 groups of 2\), got iteration 0 and 5 ranks"):
        GroupSampler(3, 2, 2).plan(0, world=5)
    with pytest.raises(ValueError, match="got iteration -1 and 1 ranks"):
        GroupSampler(3, 2, 2).plan(-1)
    with pytest.raises(ValueError, match="sample 1 has 9 tokens, expected 1 to 8"):
        micro_batches([3, 9], 8)
    with pytest.raises(ValueError, match="got 1 members and 2 token counts"):
        member_noise([Member(0, 0, 0)], [1, 2], (3,))
