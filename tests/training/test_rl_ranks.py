"""Flow-GRPO by two processes: it draws, compares and learns what one process does, and stops as one."""

import os
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor

from omnigen2.generate.request import Sampling
from omnigen2.rl import RewardRequest, Scores, group_advantages
from omnigen2.rl.reward import Failure, RewardError
from omnigen2.rl.rewards.transport import NO_ANSWER
from omnigen2.training import rl_rollout
from omnigen2.training.errors import UserError
from omnigen2.training.flow_grpo import FlowGRPOModule
from omnigen2.training.lora import LoRA
from omnigen2.training.metrics import read_metrics
from omnigen2.training.model_folder import save_plain_transformer
from omnigen2.training.randomness import of_all_processes
from omnigen2.training.resume import ResumePoint, committed_checkpoint
from omnigen2.training.rl_learner import Learner
from omnigen2.training.rl_metrics import UpdateMeter, known_means
from omnigen2.training.rl_scoring import Scored
from omnigen2.training.shards import local_part, whole
from omnigen2.training.transformer_part import TransformerPart
from tests.training.flow_parts import wake
from tests.training.grpo_parts import Moody, Redness, fit, grpo, prompts
from tests.training.rank_parts import Launcher

GROUPS, MEMBERS = 3, 2  # the second group lies on two ranks
WAYS = {"ddp": TransformerPart(), "fsdp": TransformerPart(), "lora": TransformerPart(lora=LoRA(rank=2))}
GUIDED = Sampling(steps=3, text_scale=2.0, image_scale=1.5, guidance_interval=(0.0, 0.6))


def rank() -> int:
    return int(os.environ.get("RANK", "0"))


class Untold(Redness):
    """Is not ready, or refuses pictures, on the second process alone."""

    def __init__(self, ready: bool) -> None:
        super().__init__()
        self.ready = ready

    def probe(self) -> None:
        if not self.ready and rank() == 1:
            raise RewardError("nobody listens; start it")

    def score(self, requests: Any) -> Scores:
        if self.ready and rank() == 1:
            raise RewardError("these prompts are for another reward")
        return super().score(requests)


class Spy:
    """What every iteration was learned from, on this process."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []

    def __call__(self, learn: Callable[..., UpdateMeter]) -> Callable[..., UpdateMeter]:
        def watched(learner: Learner, drawn: Any, advantages: Tensor, steps: Any) -> UpdateMeter:
            meter = learn(learner, drawn, advantages, steps)
            rollouts = [part.rollout for parts in drawn for part in parts]
            self.found.append(
                {
                    "noise": torch.cat([rollout.trajectory.states[0] for rollout in rollouts]),
                    "groups": [group for rollout in rollouts for group in rollout.group],
                    "advantages": advantages.clone(),
                    "ratios": [[float(one.ratio_mean), float(one.ratio_max)] for one in meter._first],
                }
            )
            return meter

        return watched


def strategy(way: str) -> Any:
    if "WORLD_SIZE" not in os.environ:
        return "auto"
    return DDPStrategy(process_group_backend="gloo") if way == "ddp" else ModelParallelStrategy(2, 1, False)


def model(way: str, start: str, reward: Redness, **settings: Any) -> FlowGRPOModule:
    rollout = {"groups": GROUPS, "members": MEMBERS, "sampling": GUIDED} | settings.pop("rollout", {})
    return grpo(reward, rollout, part=WAYS[way], weights=start, kl=0.05, clip=0.1, lr=1e-2, **settings)


def train(
    way: str, start: str, folder: Path, steps: int, made: FlowGRPOModule, reward: Redness, *calls: Any, **options: Any
) -> list[dict[str, Any]]:
    """Train; what each process drew, scored and learned."""
    spy = Spy()
    folder.mkdir(parents=True, exist_ok=True)
    options |= {"strategy": strategy(way), "devices": int(os.environ.get("WORLD_SIZE", "1")), "awake": False}
    with patch.object(Learner, "learn", spy(Learner.learn)):
        fit(made, folder, steps, *calls, **options)
    asked = [request for call in reward.asked for request in call]
    return of_all_processes(
        {
            "iterations": spy.found,
            "keys": [request.key for request in asked],
            "values": [reward.one(request).value for request in asked],
            "pictures": [request.image for request in asked],
            "weights": {name: whole(local_part(value), value) for name, value in made.dit.named_parameters()},
        }
    )


def same_noise(made: FlowGRPOModule, kind: int, iteration: int, part: int) -> torch.Generator:
    """The noise of the steps of a picture that is drawn alone, whatever the number of processes."""
    total = GROUPS * MEMBERS
    picture = made.global_rank * (total // made.trainer.world_size) + part
    return torch.Generator().manual_seed(int(np.random.SeedSequence((kind, iteration, picture)).generate_state(1)[0]))


def alone_each(costs: Any, budget: int) -> tuple[range, ...]:
    return tuple(range(number, number + 1) for number in range(len(costs)))


def one_update(way: str, start: str, folder: Path) -> list[dict[str, Any]]:
    """Two iterations of one update, in which every picture is drawn by itself: nothing depends on the processes."""
    reward = Redness()
    made = model(way, start, reward, update={"updates": 1})
    made.seeded = partial(same_noise, made)
    with patch.object(rl_rollout, "micro_batches", alone_each):
        return train(way, start, folder / way, 2, made, reward)


def two_updates(way: str, start: str, folder: Path, tokens: int | None) -> list[dict[str, Any]]:
    """Pictures are drawn in parts of one prompt or two, and learned from in smaller ones."""
    reward = Redness()
    made = model(way, start, reward, rollout={"tokens": 700}, update={"updates": 1, "tokens": tokens})
    return train(way, start, folder / f"{tokens}", 2, made, reward)


def stopped(way: str, start: str, folder: Path, reward: Redness, steps: int = 4) -> tuple[str, list[str]]:
    """How a run ends on either process."""
    made = model(way, start, reward, rewards={"retries": 1})
    try:
        train(way, start, folder, steps, made, reward, ResumePoint(every_n_train_steps=0))
    except UserError as error:
        end = str(error)
    except SystemExit as error:
        end = f"status {error.code}"
    return (committed_checkpoint(folder) or Path()).name, [other["end"] for other in of_all_processes({"end": end})]


def half_known() -> dict[str, Any]:
    """Three pictures, two of them on the first process; the second one has no other reward."""
    values = [torch.tensor([1.0, 2.0]), torch.tensor([6.0])][rank()]
    other = [torch.tensor([torch.nan, 4.0]), torch.tensor([torch.nan])][rank()]
    scores = Scores(values, torch.ones_like(values, dtype=torch.bool), {}, (None,) * len(values), ("",) * len(values))
    return known_means(Scored(("edit",) * len(values), scores, {"other": other}))


def everything(path: str, start: str) -> dict[str, Any]:
    folder = Path(path)
    results: dict[str, Any] = {way: one_update(way, start, folder) for way in WAYS}
    results["parts"] = [two_updates("fsdp", start, folder / "parts", tokens) for tokens in (None, 300)]
    silence = {call: Failure(NO_ANSWER, "ConnectError from server 1 of 1") for call in range(2, 8) if rank() == 1}
    results["stopped"] = stopped("fsdp", start, folder / "stopped", Moody(silence))
    reward = Redness()
    point, checkpoint = ResumePoint(every_n_train_steps=0), committed_checkpoint(folder / "stopped")
    again = model("fsdp", start, reward)
    results["again"] = train("fsdp", start, folder / "stopped", 4, again, reward, point, checkpoint=checkpoint)
    reward = Redness()
    results["whole"] = train("fsdp", start, folder / "whole", 4, model("fsdp", start, reward), reward)
    results["not ready"] = stopped("ddp", start, folder / "not ready", Untold(ready=False))
    results["refused"] = stopped("fsdp", start, folder / "refused", Untold(ready=True))
    results["known"] = half_known()
    return results


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("start")
    save_plain_transformer(wake(grpo()).dit, folder)
    return str(folder)


@pytest.fixture(scope="module")
def pair(start: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    launcher = Launcher(tmp_path_factory.mktemp("pair"))
    try:
        assert launcher(everything, str(launcher.folder), start) == [0, 0], launcher.log()
    finally:
        launcher.close()
    return launcher.folder, launcher.result()


def joined(ranks: list[dict[str, Any]], name: str) -> Any:
    """A value of every iteration, the ranks behind one another."""
    numbers = range(len(ranks[0]["iterations"]))
    each = [[own["iterations"][number][name] for own in ranks] for number in numbers]
    return [torch.cat(parts) if isinstance(parts[0], Tensor) else list(chain(*parts)) for parts in each]


def by_iteration(ranks: list[dict[str, Any]], name: str) -> list[Any]:
    """What was asked of the rewards, in the order of the iterations."""
    iterations = len(ranks[0]["iterations"])
    share = len(ranks[0]["keys"]) // iterations
    return [value for n in range(iterations) for own in ranks for value in own[name][n * share :][:share]]


@pytest.fixture(scope="module")
def alone(start: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What one process comes to; of DDP and FSDP2 it is the same."""
    folder = tmp_path_factory.mktemp("alone")
    found = {way: one_update(way, start, folder) for way in ("ddp", "lora")}
    return found | {"fsdp": found["ddp"]}


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_draw_what_one_draws(way: str, pair: tuple[Path, dict[str, Any]], alone: Any) -> None:
    ours, theirs = pair[1][way], alone[way]
    assert by_iteration(ours, "keys") == by_iteration(theirs, "keys")
    assert joined(ours, "groups") == joined(theirs, "groups")
    assert joined(ours, "groups")[0] == [0, 0, 1, 1, 2, 2]
    for one, other in zip(joined(ours, "noise"), joined(theirs, "noise"), strict=True):
        assert torch.equal(one, other)
    pictures = by_iteration(ours, "pictures"), by_iteration(theirs, "pictures")
    torch.testing.assert_close(*pictures, rtol=0, atol=2e-3)


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_learn_what_one_learns(way: str, pair: tuple[Path, dict[str, Any]], alone: Any) -> None:
    ours, theirs = pair[1][way], alone[way]
    torch.testing.assert_close(joined(ours, "advantages"), joined(theirs, "advantages"), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(ours[0]["weights"], theirs[0]["weights"], rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("way", WAYS)
def test_groups_are_compared_whole(way: str, pair: tuple[Path, dict[str, Any]]) -> None:
    ranks = pair[1][way]
    values = torch.tensor(by_iteration(ranks, "values")).split(GROUPS * MEMBERS)
    assert len(values) == 2
    for rewards, groups, found in zip(values, joined(ranks, "groups"), joined(ranks, "advantages"), strict=True):
        torch.testing.assert_close(found, group_advantages(rewards, groups).values, rtol=1e-3, atol=1e-3)
        assert bool(found[2:4].any())  # the group of two ranks
    logged = [row["reward/mean"] for row in read_metrics(pair[0] / way) if "reward/mean" in row]
    assert logged == pytest.approx([float(rewards.mean()) for rewards in values], abs=1e-5)


@pytest.mark.parametrize("way", [*WAYS, "again"])
def test_all_processes_have_the_same_weights_and_ratios_of_1(way: str, pair: tuple[Path, dict[str, Any]]) -> None:
    first, second = pair[1][way]
    assert all(torch.equal(value, second["weights"][name]) for name, value in first["weights"].items())
    ratios = [pair for own in (first, second) for iteration in own["iterations"] for pair in iteration["ratios"]]
    assert ratios
    assert all(pair == [1.0, 1.0] for pair in ratios)


def test_micro_batches_of_unequal_parts_give_the_same_update(pair: tuple[Path, dict[str, Any]]) -> None:
    whole, cut = pair[1]["parts"]
    counts = [[len(own["iterations"][0]["ratios"]) for own in ranks] for ranks in (whole, cut)]
    print(counts)
    assert counts[0][0] == counts[0][1] < counts[1][0] == counts[1][1]
    torch.testing.assert_close(cut[0]["weights"], whole[0]["weights"], rtol=1e-2, atol=1e-3)


def test_a_server_that_fails_one_process_stops_both(pair: tuple[Path, dict[str, Any]]) -> None:
    name, (first, second) = pair[1]["stopped"]
    assert "not scored (no answer: ConnectError" in first
    assert first.endswith("the same command goes on from iteration 1")
    assert second == "status 2"
    assert name == "resume-00000002.ckpt"


def test_two_stopped_processes_continue_exactly(pair: tuple[Path, dict[str, Any]]) -> None:
    again, whole = pair[1]["again"], pair[1]["whole"]
    assert len(again[0]["iterations"]) == 1
    assert len(whole[0]["iterations"]) == 2
    assert all(torch.equal(value, again[0]["weights"][name]) for name, value in whole[0]["weights"].items())


def test_a_refusal_on_one_process_is_said_by_the_first(pair: tuple[Path, dict[str, Any]]) -> None:
    name, (first, second) = pair[1]["not ready"]
    assert (name, second) == ("", "status 2")
    assert first == "the reward text_to_image (Untold) is not ready: nobody listens; start it"
    assert pair[1]["refused"] == ("", ["these prompts are for another reward", "status 2"])


def test_held_out_rewards_are_means_over_the_pictures_of_both(pair: tuple[Path, dict[str, Any]]) -> None:
    assert pair[1]["known"] == {"reward": (3.0, 3), "other": (4.0, 1)}
