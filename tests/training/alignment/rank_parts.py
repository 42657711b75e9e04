"""Runs of Flow-GRPO that two processes do together, and what becomes of them."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor
from torch.distributed.tensor import DTensor

from omnigen2.adapters import LoRA
from omnigen2.errors import UserError
from omnigen2.generate.request import Sampling
from omnigen2.rl import Scores
from omnigen2.rl.reward import Failure, RewardError
from omnigen2.runner.keep.metrics import read_metrics
from omnigen2.runner.keep.resume import ResumePoint, committed_checkpoint
from omnigen2.runner.keep.state import of_all_processes
from omnigen2.shards import local_part, whole
from omnigen2.training.alignment import policy as rl_policy
from omnigen2.training.alignment.learner import Learner
from omnigen2.training.alignment.metrics import UpdateMeter, known_means
from omnigen2.training.alignment.module import FlowGRPOModule
from omnigen2.training.alignment.scoring import Scored
from omnigen2.training.parts import Stream, TransformerPart
from tests.training.grpo_parts import Moody, Redness, fit, grpo

GROUPS, MEMBERS = 3, 2  # the second group lies on two ranks
WAYS = {"ddp": TransformerPart(), "fsdp": TransformerPart(), "lora": TransformerPart(lora=LoRA(rank=2))}
GUIDED = Sampling(steps=2, text_scale=2.0, image_scale=1.5, guidance_interval=(0.0, 0.4))


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
    seed_everything(0, verbose=False)  # new adapters depend on it, and strategies of several processes set it again
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
            "metrics": read_metrics(folder) if rank() == 0 else [],
            "weights": {name: whole(local_part(value), value) for name, value in made.dit.named_parameters()},
        }
    )


def same_noise(made: FlowGRPOModule, stream: Stream, iteration: int, part: int) -> torch.Generator:
    """The noise of the steps of a picture that is drawn alone, whatever the number of processes."""
    total = GROUPS * MEMBERS
    picture = made.global_rank * (total // made.trainer.world_size) + part
    return stream.torch(0, 0, iteration, picture)


def alone_each(costs: Any, budget: int) -> tuple[range, ...]:
    return tuple(range(number, number + 1) for number in range(len(costs)))


def one_update(way: str, start: str, folder: Path) -> list[dict[str, Any]]:
    """Two iterations of one update, in which every picture is drawn by itself: nothing depends on the processes."""
    reward = Redness()
    made = model(way, start, reward, update={"updates": 1})
    made.seeded = partial(same_noise, made)
    with patch.object(rl_policy, "micro_batches", alone_each):
        return train(way, start, folder / way, 2, made, reward)


def in_parts(way: str, start: str, folder: Path, tokens: int | None) -> list[dict[str, Any]]:
    """Parts of one and two pictures on the first process, of two and one on the second; then three parts and two."""
    reward = Redness()
    made = model(way, start, reward, rollout={"tokens": 170}, update={"updates": 1, "tokens": tokens})
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


def kept(folder: Path) -> dict[str, bool]:
    """What the KL is measured from, of a new policy that hardly moves."""
    reward = Redness()
    made = grpo(reward, {"groups": GROUPS, "members": MEMBERS}, {"updates": 1}, kl=0.05, lr=1e-30)
    train("fsdp", "", folder, 1, made, reward)
    pairs = list(zip(made.dit.parameters(), made._frozen[0].parameters(), strict=True))
    return {
        "same": all(torch.allclose(local_part(one), local_part(other), 0, 1e-6) for one, other in pairs),
        "sharded": all(isinstance(other, DTensor) for _, other in pairs),
        "trained": any(other.requires_grad for _, other in pairs),
    }


def everything(path: str, start: str) -> dict[str, Any]:
    folder = Path(path)
    results: dict[str, Any] = {way: one_update(way, start, folder) for way in WAYS}
    results["parts"] = [in_parts("fsdp", start, folder / "parts", tokens) for tokens in (None, 140)]
    silent = Failure("no answer", "ConnectError from server 1 of 1", transient=True)
    silence = dict.fromkeys(range(2, 8), silent) if rank() == 1 else {}
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
    results["kept"] = kept(folder / "kept")
    return results
