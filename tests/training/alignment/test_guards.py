"""Guards: how many invalid rewards are put up with, and when a reward is hacked."""

import pytest
import torch

from omnigen2.rl import Failure, Judgement, Scores, group_advantages
from omnigen2.training.alignment import InvalidRewardGuard, RewardHackingGuard
from omnigen2.training.alignment.metrics import IterationReport
from omnigen2.training.alignment.scoring import Scored


def report(iteration: int, trained: float, watched: float) -> IterationReport:
    value = torch.tensor([trained, trained])
    scores = Scores(value, torch.ones(2, dtype=torch.bool), {}, (None, None), ("", ""))
    scored = Scored(("edit", "edit"), scores, {"honest": torch.tensor([watched, watched])})
    return IterationReport(iteration, scored, group_advantages(value, [0, 0]))


@pytest.mark.parametrize(("pictures", "invalid", "most"), [(10, 3, 0.3), (10, 1, 0.1), (5, 1, 0.2), (7, 0, 0.0)])
def test_as_many_invalid_rewards_as_are_put_up_with_do_not_stop(pictures: int, invalid: int, most: float) -> None:
    for failures, stops in ((invalid, False), (invalid + 1, True)):
        outcomes = [Failure("unreadable")] * failures + [Judgement(1.0)] * (pictures - failures)
        scores = Scores.collect(outcomes)
        advantages = group_advantages(scores.value, [0] * pictures, scores.valid)
        found = IterationReport(0, Scored(("edit",) * pictures, scores, {}), advantages)
        assert (InvalidRewardGuard(most).verdict(found) is not None) == stops


@pytest.mark.parametrize(("rise", "fall", "expected"), [(0.1, -0.1, True), (0.1, 0.1, False), (-0.1, -0.1, False)])
def test_hacking_is_a_rise_of_the_trained_and_a_fall_of_the_watched(rise: float, fall: float, expected: bool) -> None:
    guard = RewardHackingGuard(window=3, stop=True)
    words = []
    for iteration in range(6):
        jitter = 0.001 * (iteration % 2)
        late = iteration >= 3
        words.append(guard.verdict(report(iteration, 0.5 + rise * late + jitter, 0.5 + fall * late + jitter)))
        again = RewardHackingGuard(window=3, stop=True)
        again.load_state_dict(guard.state_dict())
        guard = again
    assert words[:5] == [None] * 5
    assert (words[5] is not None and "while honest fell" in words[5]) == expected


@pytest.mark.parametrize("unknown", [0, 4])
def test_hacking_is_seen_though_a_reward_was_not_known_at_times(unknown: int) -> None:
    guard = RewardHackingGuard(window=3, stop=True)
    words = [
        guard.verdict(report(i, 0.4 + 0.1 * (i >= 3), float("nan") if i == unknown else 0.5 - 0.1 * (i >= 3)))
        for i in range(6)
    ]
    assert words[:5] == [None] * 5
    assert "while honest fell" in str(words[5])


def test_an_iteration_that_is_drawn_again_counts_once() -> None:
    guard, again = RewardHackingGuard(window=2), RewardHackingGuard(window=2)
    for iteration in range(3):
        guard.verdict(report(iteration, 0.1 * iteration, 0.5))
    again.verdict(report(0, 0.0, 0.5))
    again.verdict(report(1, 0.7, 0.9))  # stopped after it, by another guard
    for iteration in (1, 2):
        again.verdict(report(iteration, 0.1 * iteration, 0.5))
    assert again.state_dict() == guard.state_dict()
