"""Flow-GRPO training under faults: a stop loses nothing, rewards that are not there teach nothing."""

import json
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Callback, LightningModule, Trainer

from omnigen2.errors import UserError
from omnigen2.rl import RewardRequest, Scores
from omnigen2.rl.reward import Failure, RewardError
from omnigen2.rl.rewards.remote.remote import RemoteReward
from omnigen2.rl.rewards.remote.server import RewardService
from omnigen2.rl.rewards.remote.transport import Limits
from omnigen2.runner.keep.metrics import read_metrics
from omnigen2.runner.keep.resume import ResumePoint, committed_checkpoint
from omnigen2.training.alignment.guards import InvalidRewardGuard
from omnigen2.training.alignment.scoring import Pending, Scorer
from omnigen2.training.alignment.settings import RewardPart
from omnigen2.training.callbacks.ema import EMA
from tests.rl.loopback import Answer, Asked, loopback
from tests.training.grpo_parts import ALL_TASKS, Moody, Redness, fit, grpo, prompts, same, weights

SILENCE = Failure("nobody there", "ConnectError from server 1 of 1", transient=True)
ONE_TASK = {"text_to_image": 1.0}
QUICK = Limits(concurrency=2, timeout_s=2, deadline_s=6, attempts=2, backoff_s=0.001)
PATIENT = Limits(concurrency=2, timeout_s=60, deadline_s=120, attempts=2, backoff_s=0.001)


class Kill(Callback):
    """Raises where a process would be killed: before the n-th optimizer step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if trainer.global_step == self.step:
            raise ChildProcessError("killed")


def point() -> ResumePoint:
    return ResumePoint(every_n_train_steps=2)


@settings(max_examples=3, deadline=None)
@given(step=st.integers(2, 5))
def test_a_killed_run_goes_on_to_the_same_bits(step: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    one, two = tmp_path_factory.mktemp("one"), tmp_path_factory.mktemp("two")
    whole_ema, ema = EMA(0.5), EMA(0.5)
    whole = fit(grpo(kl=0.01), one, 6, whole_ema, point())
    with pytest.raises(ChildProcessError):
        fit(grpo(kl=0.01), two, 6, EMA(0.5), point(), Kill(step))
    checkpoint = committed_checkpoint(two)
    assert checkpoint is not None
    assert checkpoint.name == f"resume-{step // 2 * 2:08d}.ckpt"
    again = fit(grpo(kl=0.01), two, 6, ema, point(), checkpoint=checkpoint)
    assert same(weights(whole), weights(again))
    with whole_ema.applied(whole), ema.applied(again):
        assert same(weights(whole), weights(again))


def test_a_reward_that_is_not_ready_is_named_before_anything_is_drawn(tmp_path: Path) -> None:
    class Absent(Redness):
        def probe(self) -> None:
            raise RewardError("nobody listens; start it")

    reward = Absent()
    with pytest.raises(UserError, match=r"reward text_to_image \(Absent\) is not ready: nobody listens; start it"):
        fit(grpo(reward), tmp_path, 2)
    assert not reward.asked


def test_a_server_that_comes_back_changes_nothing(tmp_path: Path) -> None:
    data = {"data": prompts(asked=ONE_TASK)}
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    calm = fit(grpo(Redness()), tmp_path / "a", 4, **data)
    moody = Moody({0: SILENCE, 1: SILENCE, 4: SILENCE}, share=0.5)
    waits: list[float] = []
    model = grpo(moody, rewards={"wait_s": 7.0, "retries": 2})
    model.scorer.sleep = waits.append
    fit(model, tmp_path / "b", 4, data=prompts(asked=ONE_TASK))
    assert same(weights(calm), weights(model))
    assert waits[:2] == [7.0, 14.0]


@pytest.mark.parametrize("iteration", [0, 2])
def test_a_server_that_stays_away_stops_the_run_and_loses_nothing(iteration: int, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = fit(grpo(Redness()), tmp_path / "a", 6, point(), data=prompts(asked=ONE_TASK))
    calls = 2 * iteration  # the pictures of each of two updates are drawn together
    away = Moody({call: SILENCE for call in range(calls, calls + 6)})
    rare = ResumePoint(every_n_train_steps=0)
    with pytest.raises(
        UserError, match=rf"(?s)not scored \(nobody there: ConnectError.*goes on from iteration {iteration}"
    ):
        fit(grpo(away, rewards={"retries": 1}), tmp_path / "b", 6, rare, data=prompts(asked=ONE_TASK))
    checkpoint = committed_checkpoint(tmp_path / "b")
    assert checkpoint is not None
    again = fit(
        grpo(Redness()), tmp_path / "b", 6, point(), data=prompts(asked=ONE_TASK), checkpoint=checkpoint, awake=False
    )
    assert same(weights(whole), weights(again))


def test_too_many_invalid_rewards_stop_the_run_before_they_teach(tmp_path: Path) -> None:
    garbage = {call: Failure("unreadable reply", "no JSON") for call in (2, 3)}
    guard = InvalidRewardGuard(most=0.4)
    with pytest.raises(UserError, match=r"(?s)50 % of the rewards of iteration 1 are invalid.*unreadable reply 4"):
        fit(grpo(Moody(garbage, share=0.5)), tmp_path, 6, point(), guard, data=prompts(asked=ONE_TASK))
    once = fit(grpo(Redness()), tmp_path, 2, data=prompts(asked=ONE_TASK))
    checkpoint = committed_checkpoint(tmp_path)
    assert checkpoint is not None
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(state[f"transformer.{name}"], value) for name, value in weights(once).items())


def test_a_run_without_a_resume_point_stops_all_the_same_and_says_that_nothing_is_kept(tmp_path: Path) -> None:
    garbage = {call: Failure("unreadable reply", "no JSON") for call in (2, 3)}
    reward, guard = Moody(garbage), InvalidRewardGuard(most=0.4)
    with pytest.raises(
        UserError, match=r"(?s)rewards of iteration 1 are invalid.*nothing was saved: .* no ResumePoint"
    ):
        fit(grpo(reward), tmp_path, 6, guard, data=prompts(asked=ONE_TASK))
    assert len(reward.asked) == 4


def test_a_few_invalid_rewards_are_counted_and_left_out(tmp_path: Path) -> None:
    garbage = {0: Failure("unreadable reply", "no JSON")}
    fit(grpo(Moody(garbage, share=0.5)), tmp_path, 2, InvalidRewardGuard(0.4), data=prompts(asked=ONE_TASK))
    (row,) = [row for row in read_metrics(tmp_path) if "reward/mean" in row]
    assert row["invalid/share"] == pytest.approx(0.25)
    assert row["invalid/unreadable_reply"] == 2


def served(kind: str, asked: Asked) -> Answer:
    """What a server with a fault does with a batch."""
    if asked.path == "/health":
        return Answer(body={"low": -2.0, "high": 2.0, "part_names": ["red"], "description": "red", "ready": True})
    honest = RewardService(Redness()).answer(json.dumps(asked.body).encode())
    scores = honest["scores"]
    match kind:
        case "good":
            return Answer(body=honest)
        case "drop":
            return Answer(fault="drop")
        case "slow":
            return Answer(body=honest, wait_s=4.0)
        case "garbage":
            return Answer(body=b"\x00{")
        case "short":
            return Answer(body={"scores": scores[:-1]})
        case _:
            return Answer(body={"scores": [score | {"value": float("nan")} for score in scores]})


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("drop", r"not scored \(no answer"),
        ("slow", r"not scored \(no answer"),
        ("garbage", "100 % of the rewards of iteration 1"),
        ("short", "100 % of the rewards of iteration 1"),
        ("nan", "100 % of the rewards of iteration 1"),
    ],
)
def test_a_server_that_breaks_in_the_middle_loses_nothing(kind: str, words: str, tmp_path: Path) -> None:
    state, limits = {"kind": "good"}, QUICK if kind == "slow" else PATIENT

    class Breaks(Callback):
        def on_train_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            state["kind"] = kind

    with loopback(lambda asked: served(state["kind"], asked)) as server:

        def remote() -> RemoteReward:
            return RemoteReward([server.url], -2.0, 2.0, ["red"], batch_size=8, limits=limits)

        rewards = {"retries": 1}
        with pytest.raises(UserError, match=words):
            fit(grpo(remote(), rewards=rewards), tmp_path, 4, Breaks(), point(), InvalidRewardGuard())
        state["kind"] = "good"
        again = fit(
            grpo(remote(), rewards=rewards),
            tmp_path,
            4,
            point(),
            checkpoint=committed_checkpoint(tmp_path),
            awake=False,
        )
        state["kind"] = "good"
        (tmp_path / "whole").mkdir()
        whole = fit(grpo(remote(), rewards=rewards), tmp_path / "whole", 4)
    assert same(weights(whole), weights(again))


def test_remote_scores_are_waited_for_in_order() -> None:
    here, there = Redness(), Redness(remote=True)
    pictures = [torch.full((3, 4, 4), value / 10) for value in range(6)]
    found = []
    for reward in (here, there):
        scorer = Scorer(RewardPart(dict.fromkeys(ALL_TASKS, reward)))
        with scorer.session() as submit:
            waits = [submit([RewardRequest("", picture)], ["edit"]) for picture in pictures]
            found.append([wait().scores.parts["edit/red"] for wait in waits])
    assert found[0] == found[1] == pytest.approx([value / 10 for value in range(6)])


def test_an_exception_does_not_wait_for_servers() -> None:
    begun, held, ended = Event(), Event(), Event()

    def wait(seconds: float) -> None:
        begun.set()
        held.wait(30)
        ended.set()

    moody = Moody({0: SILENCE})
    moody.remote = True
    scorer = Scorer(RewardPart({"edit": moody}), sleep=wait)
    waits: list[Pending] = []

    def interrupted() -> None:
        with scorer.session() as submit:
            waits.extend(submit([RewardRequest("", torch.zeros(3, 4, 4))], ["edit"]) for _ in range(2))
            assert begun.wait(30)
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="1 of 1 pictures were not scored"), pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not ended.is_set()
    with pytest.raises(CancelledError):
        waits[1]()
    held.set()
    assert waits[0]().scores.valid.tolist() == [True]
    assert len(moody.asked) == 2  # what was not begun is never asked


def test_what_a_remote_reward_raises_is_raised_where_its_scores_are_waited_for() -> None:
    class Broken(Redness):
        def score(self, requests: Sequence[RewardRequest]) -> Scores:
            raise ZeroDivisionError("broken")

    scorer = Scorer(RewardPart({"edit": Broken(remote=True)}))
    with pytest.raises(ZeroDivisionError, match="broken"), scorer.session() as submit:
        submit([RewardRequest("", torch.zeros(3, 4, 4))], ["edit"])()
