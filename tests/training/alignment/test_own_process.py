"""Trainings whose rewards have a process of their own; its start is in tests/rl/test_reward_process.py."""

from pathlib import Path

import pytest

from omnigen2.errors import UserError
from omnigen2.rl import RewardError
from omnigen2.training.alignment.scoring import Scorer
from omnigen2.training.alignment.settings import RewardPart, Watched
from tests.rl.test_reward_process import Broken, here
from tests.training.grpo_parts import Blueness, Redness, fit, grpo, same, weights


def test_a_training_is_the_same_and_ends_the_process(tmp_path: Path) -> None:
    models = []
    for own in (True, False):
        (folder := tmp_path / str(own)).mkdir()
        model = grpo(rewards={"own_process": own, "watched": {"blue": Watched(Blueness())}})
        if model.scorer.process is not None:
            model.scorer.process = here(*model.scorer.process.rewards)
        models.append(fit(model, folder, 2))
    beside, alone = models
    assert same(weights(beside), weights(alone))
    assert beside.scorer.process is not None
    assert [type(reward) for reward in beside.scorer.process.rewards] == [Redness, Blueness]
    assert beside.scorer.process._running is None
    assert alone.scorer.process is None


def test_remote_rewards_stay_here() -> None:
    far = Redness(remote=True)
    assert Scorer(RewardPart({"edit": far}, own_process=True)).process is None
    near = Scorer(RewardPart({"edit": far, "in_context": Redness()}, own_process=True))
    assert near.process is not None
    assert [reward.remote for reward in near.process.rewards] == [False]


def test_a_reward_that_is_not_ready_there_is_named() -> None:
    refused = Broken(RewardError("nobody listens", "start it"))
    scorer = Scorer(RewardPart({"edit": refused}, own_process=True))
    scorer.process = here(refused)
    with pytest.raises(UserError, match=r"the reward edit \(Broken\) is not ready: nobody listens"):
        scorer.probe()
