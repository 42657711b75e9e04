"""Which pictures an iteration draws: for which prompts, in which groups, on which rank, from which noise."""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import accumulate
from math import ceil
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Member(NamedTuple):
    """One picture to be drawn.

    Attributes:
        prompt: Number of its prompt in the data.
        group: Id of its group, different from that of every other group of the run.
        seed: Of its starting noise, in [0, 2^63); what has the same one starts from the same noise.
    """

    prompt: int
    group: int
    seed: int


class GroupSampler:
    """Draws prompts and hands out groups: a function of the seed and the iteration alone.

    Prompts come from an endless stream, all of them in random order, then all again in another order; an iteration
    takes the next `groups` of it. All ranks together draw the same members from the same noise whatever their number:
    each rank takes its consecutive share of one list, and a group may lie on two ranks.

    Args:
        prompts: Number of prompts there are, at least 1.
        groups: Number of groups of an iteration, at least 1. The official RL configuration has 48.
        members: Pictures of a group, at least 2. The official RL configuration has 12.
        seed: At least 0.
        shared_noise: Whether the members of a group start from one noise, and differ by that of the steps alone.

    Raises:
        ValueError: If a number is too small.

    Example:
        >>> [[member.group for member in rank] for rank in GroupSampler(100, groups=2, members=3).plan(5, world=2)]
        [[10, 10, 10], [11, 11, 11]]
    """

    def __init__(self, prompts: int, groups: int, members: int, seed: int = 0, shared_noise: bool = False) -> None:
        given = {"prompts": (prompts, 1), "groups": (groups, 1), "members": (members, 2), "seed": (seed, 0)}
        for name, (value, least) in given.items():
            if value < least:
                raise ValueError(f"GroupSampler needs {name} of at least {least}, got {value}")
        self.prompts = prompts
        self.groups = groups
        self.members = members
        self.seed = seed
        self.shared_noise = shared_noise

    def plan(self, iteration: int, world: int = 1) -> tuple[tuple[Member, ...], ...]:
        """The members of every rank: one tuple each, the sizes differing by at most 1.

        Behind one another they are the same for every number `world` of ranks, group by group. Iterations are counted
        from 0.

        Raises:
            ValueError: If `iteration` is negative, or there are more ranks than members.
        """
        total = self.groups * self.members
        if iteration < 0 or not 1 <= world <= total:
            raise ValueError(
                f"plan needs an iteration of at least 0 and 1 to {total} ranks ({self.groups} groups of "
                f"{self.members}), got iteration {iteration} and {world} ranks"
            )
        everyone = tuple(
            Member(prompt, group, stable_seed("noise", self.seed, group, *(() if self.shared_noise else (member,))))
            for group, prompt in self._draw(iteration)
            for member in range(self.members)
        )
        borders = [rank * total // world for rank in range(world + 1)]
        return tuple(everyone[start:stop] for start, stop in zip(borders, borders[1:], strict=False))

    def _draw(self, iteration: int) -> list[tuple[int, int]]:
        """Id and prompt of each group."""
        first = iteration * self.groups
        ids = range(first, first + self.groups)
        epochs = range(first // self.prompts, ceil((first + self.groups) / self.prompts))
        orders = {epoch: permutation(self.prompts, stable_seed("prompts", self.seed, epoch)) for epoch in epochs}
        return [(group, orders[group // self.prompts][group % self.prompts]) for group in ids]


def member_noise(
    members: Sequence[Member], tokens: Sequence[int], features: Sequence[int]
) -> Float[Tensor, " tokens *features"]:
    """Standard normal noise, each member's from its own seed: the same on whatever rank and in whatever batch.

    Args:
        members: Whose noise.
        tokens: Number of target tokens of each member.
        features: Shape of a token.

    Returns:
        float32 on the host, shape (sum of tokens, *features), member behind member.

    Raises:
        ValueError: If there is not one token count per member.
    """
    if len(members) != len(tokens):
        raise ValueError(f"got {len(members)} members and {len(tokens)} token counts; give one token count per member")
    parts = [
        torch.randn((count, *features), generator=torch.Generator().manual_seed(member.seed))
        for member, count in zip(members, tokens, strict=True)
    ]
    return torch.cat(parts) if parts else torch.empty(0, *features)


def micro_batches(costs: Sequence[int], budget: int) -> tuple[range, ...]:
    """Cut a list of samples into consecutive parts, none empty, of at most `budget` tokens.

    Args:
        costs: Tokens of each sample: text, references and target together, times the branches of guidance.

    Raises:
        ValueError: If a sample is above the budget by itself, or costs less than 1 token.

    Example:
        >>> micro_batches([3, 4, 5, 1], budget=8)
        (range(0, 2), range(2, 4))
    """
    for sample, cost in enumerate(costs):
        if not 1 <= cost <= budget:
            raise ValueError(
                f"sample {sample} has {cost} tokens, expected 1 to {budget}: a micro-batch holds at least one sample; "
                "raise the budget or draw smaller pictures"
            )
    starts, total = list[int](), budget
    for sample, cost in enumerate(costs):
        total += cost
        if total > budget:
            starts.append(sample)
            total = cost
    borders = [*starts, len(costs)]
    return tuple(range(start, stop) for start, stop in zip(borders, borders[1:], strict=False))


def offsets(tokens: Sequence[int]) -> list[int]:
    """Where each sample begins on the token axis, and where the last one ends."""
    return [0, *accumulate(tokens)]


def permutation(length: int, seed: int) -> list[int]:
    """The numbers below `length` in an order that depends on the seed alone."""
    return torch.randperm(length, generator=torch.Generator().manual_seed(seed)).tolist()


def stable_seed(*parts: str | int) -> int:
    """A seed in [0, 2^63) from names and numbers, the same in every process and on every machine."""
    digest = blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
