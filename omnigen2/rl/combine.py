"""Rewards made of rewards: a weighted sum, a clipped one, the mean of several passes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from typing_extensions import override

from omnigen2.rl.reward import Failure, Reward, RewardError, RewardRequest, Scores, check_scores


class WeightedSum(Reward):
    """Several rewards added up. A member is valid where it is valid for all of them.

    The parts are each reward's value under its name, and its parts as `name/part`. The problem is that of the first
    reward that has one, after its name.

    Args:
        rewards: By name.
        weights: By the same names; not 0, negative for what is to be avoided.

    Raises:
        RewardError: If there is no reward, the names differ, or a weight is 0 or not finite.
    """

    def __init__(self, rewards: Mapping[str, Reward], weights: Mapping[str, float]) -> None:
        if not rewards or set(rewards) != set(weights):
            raise RewardError(
                f"WeightedSum has the rewards {sorted(rewards)} and weights for {sorted(weights)}; name at least one "
                "reward, and give each a weight"
            )
        for name, weight in weights.items():
            if weight == 0 or not torch.tensor(weight).isfinite():
                raise RewardError(
                    f"WeightedSum: the weight of {name} is {weight}; give a finite one, or leave {name} out"
                )
        self.rewards = dict(rewards)
        self.weights = {name: weights[name] for name in self.rewards}
        ends = [sorted((w * self.rewards[name].low, w * self.rewards[name].high)) for name, w in self.weights.items()]
        self.low, self.high = sum(low for low, _ in ends), sum(high for _, high in ends)
        self.remote = any(reward.remote for reward in self.rewards.values())
        self.description = " + ".join(f"{w:g} × {name}" for name, w in self.weights.items())
        self.part_names = tuple(
            part
            for name, reward in self.rewards.items()
            for part in (name, *(f"{name}/{p}" for p in reward.part_names))
        )

    @override
    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        found = {name: check_scores(r, requests, r.score(requests)) for name, r in self.rewards.items()}
        valid = torch.stack([scores.valid for scores in found.values()]).all(0)
        nan = torch.full((len(requests),), torch.nan)
        parts: dict[str, torch.Tensor] = {}
        for name, scores in found.items():
            parts[name] = torch.where(valid, scores.value, nan)
            parts |= {f"{name}/{part}": torch.where(valid, column, nan) for part, column in scores.parts.items()}
        everyone = list(found.items())
        return Scores(
            value=torch.stack([weight * parts[name] for name, weight in self.weights.items()]).sum(0),
            valid=valid,
            parts=parts,
            problem=tuple(
                next((_named(name, problem) for name, s in everyone if (problem := s.problem[i]) is not None), None)
                for i in range(len(requests))
            ),
            reason=tuple(
                "; ".join(f"{name}: {s.reason[i]}" for name, s in everyone if s.reason[i]) for i in range(len(requests))
            ),
        )

    @override
    def probe(self) -> None:
        for reward in self.rewards.values():
            reward.probe()


class Clipped(Reward):
    """A reward whose values, but not its parts, are clipped to a range. What was invalid stays invalid.

    Raises:
        RewardError: If the range is empty.
    """

    def __init__(self, reward: Reward, low: float, high: float) -> None:
        if not low < high:
            raise RewardError(f"Clipped needs low < high, got [{low}, {high}]")
        self.reward = reward
        self.low, self.high = low, high
        self.description = f"{reward.description}, clipped to [{low:g}, {high:g}]"
        self.part_names, self.remote = reward.part_names, reward.remote

    @override
    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        scores = check_scores(self.reward, requests, self.reward.score(requests))
        return replace(scores, value=scores.value.clamp(self.low, self.high))

    @override
    def probe(self) -> None:
        self.reward.probe()


class MeanOfPasses(Reward):
    """The mean of several passes of a noisy reward; problem and reason are those of the first pass that has one.

    A judge that is asked with the same seed answers the same again: the rewards that ask judges have `passes` of
    their own, with a seed each.

    Args:
        reward: Which.
        passes: At least 1.
        needed: How many passes must be valid; by default all. The mean is over the valid ones.

    Raises:
        RewardError: If a number is out of range.
    """

    def __init__(self, reward: Reward, passes: int, needed: int | None = None) -> None:
        if not 1 <= (passes if needed is None else needed) <= passes:
            raise RewardError(f"MeanOfPasses needs 1 <= needed <= passes, got needed {needed} and passes {passes}")
        self.reward = reward
        self.passes = passes
        self.needed = passes if needed is None else needed
        self.low, self.high = reward.low, reward.high
        self.description = f"{reward.description}, mean of {passes} passes"
        self.part_names, self.remote = reward.part_names, reward.remote

    @override
    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        passes = [check_scores(self.reward, requests, self.reward.score(requests)) for _ in range(self.passes)]
        enough = torch.stack([one.valid for one in passes]).sum(0) >= self.needed

        def mean(columns: list[torch.Tensor]) -> torch.Tensor:
            return torch.where(enough, torch.stack(columns).nanmean(0), torch.nan)

        return Scores(
            value=mean([one.value for one in passes]),
            valid=enough,
            parts={name: mean([one.parts[name] for one in passes]) for name in self.part_names},
            problem=tuple(
                None if ok else next((one.problem[i] for one in passes if one.problem[i] is not None), None)
                for i, ok in enumerate(enough.tolist())
            ),
            reason=tuple(next((one.reason[i] for one in passes if one.reason[i]), "") for i in range(len(requests))),
        )

    @override
    def probe(self) -> None:
        self.reward.probe()


def _named(name: str, problem: Failure) -> Failure:
    return replace(problem, cause=f"{name} {problem.cause}")
