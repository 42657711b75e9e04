"""A very small FlowGRPOModule on the micro-world, for the tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor

from omnigen2.encoders import HiddenStateBridge
from omnigen2.flow import ConstantNoise, IdentityShift
from omnigen2.generate import Sampling
from omnigen2.microworld.runs import MicroPrompts, RandomMicroVLM
from omnigen2.rl import Failure, FlowGRPOObjective, Judgement, Outcome, RandomSteps, Reward, RewardRequest, Scores
from omnigen2.runner.keep import CsvLogger, ResumePoint
from omnigen2.training.alignment import FlowGRPOModule
from omnigen2.training.alignment.settings import Alignment, RewardPart, RolloutPart, UpdatePart
from omnigen2.training.flow_matching import Drawing, TextPart
from omnigen2.training.parts import DCT, AdamWRecipe, TransformerPart, WarmupConstant
from tests.training.flow_parts import CONFIG, wake

ALL_TASKS = ("text_to_image", "edit", "in_context")


class Redness(Reward):
    """How much redder than blue and green a picture is; keeps what it was asked."""

    low, high, description, part_names = -2.0, 2.0, "red", ("red",)

    def __init__(self, remote: bool = False) -> None:
        self.remote = remote
        self.asked: list[list[RewardRequest]] = []

    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        self.asked.append(list(requests))
        return Scores.collect([self.one(request) for request in requests], self.part_names)

    def one(self, request: RewardRequest) -> Outcome:
        means = request.image.mean((1, 2))
        return Judgement(float(means[0] - means[1:].mean()), {"red": float(means[0])}, "looked at")


class Blueness(Redness):
    """The opposite, more or less."""

    def one(self, request: RewardRequest) -> Outcome:
        means = request.image.mean((1, 2))
        return Judgement(float(means[2] - means[:2].mean()), {"red": float(means[0])})


class Moody(Redness):
    """Fails for pictures of given calls, with a given failure."""

    def __init__(self, failures: dict[int, Failure], share: float = 1.0) -> None:
        super().__init__()
        self.failures = failures
        self.share = share

    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        failure = self.failures.get(len(self.asked))
        self.asked.append(list(requests))
        failing = 0 if failure is None else round(self.share * len(requests))
        outcomes = [
            failure if failure is not None and i < failing else self.one(request) for i, request in enumerate(requests)
        ]
        return Scores.collect(outcomes, self.part_names)


def grpo(
    reward: Reward | None = None,
    rollout: dict[str, Any] | None = None,
    update: dict[str, Any] | None = None,
    rewards: dict[str, Any] | None = None,
    seed: int = 0,
    lr: float = 1e-3,
    part: TransformerPart | None = None,
    kl: float = 0.0,
    clip: float = 1e-2,
    **settings: Any,
) -> FlowGRPOModule:
    """A module with a seed of its own."""
    torch.manual_seed(seed)
    reward = Redness() if reward is None else reward
    rewards = {"trained": dict.fromkeys(ALL_TASKS, reward), "wait_s": 0.0} | (rewards or {})
    rollout = {
        "groups": 2, "members": 4, "sampling": Sampling(steps=4, text_scale=1.0), "shift": IdentityShift(),
        "noise_level": ConstantNoise(0.7), "selection": RandomSteps(0.5, skip_last=1),
    } | (rollout or {})  # fmt: skip
    update = {"objective": FlowGRPOObjective(clip, clip, kl_weight=kl)} | (update or {})
    alignment = Alignment(RewardPart(**rewards), RolloutPart(**rollout), UpdatePart(**update))
    return FlowGRPOModule(
        transformer=part or TransformerPart(CONFIG),
        text=TextPart(RandomMicroVLM(), HiddenStateBridge(template="drop"), remembered=1000),
        codec=DCT(2),
        alignment=alignment,
        optimizer=AdamWRecipe(lr=lr),
        schedule=WarmupConstant(0),
        drawing=settings.pop("drawing", Drawing(Sampling(steps=2, text_scale=1.0), shown=2)),
        **settings,
    )


def prompts(steps: int = 20, **settings: Any) -> MicroPrompts:
    """Mixed prompts at 16 pixels."""
    asked = {"text_to_image": 1.0, "edit": 1.0, "in_context": 1.0}
    settings = {"asked": asked, "prompts": 64, "multiple": 4} | settings
    return MicroPrompts(16, steps, **settings)


def weights(model: FlowGRPOModule) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.dit.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Bit for bit."""
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def fit(model: FlowGRPOModule, folder: Path, steps: int, *callbacks: Callback, **options: Any) -> FlowGRPOModule:
    """Train an awake model for some optimizer steps, with its metrics in the folder."""
    data, checkpoint = options.pop("data", None) or prompts(), options.pop("checkpoint", None)
    if options.pop("awake", True):
        wake(model)
    options = {"devices": 1, "limit_val_batches": 0} | options
    trainer = Trainer(
        default_root_dir=folder, max_steps=steps, accelerator="cpu", callbacks=list(callbacks),
        logger=CsvLogger(folder), log_every_n_steps=1, num_sanity_val_steps=0,
        enable_checkpointing=any(isinstance(callback, ResumePoint) for callback in callbacks),
        enable_progress_bar=False, enable_model_summary=False, **options,
    )  # fmt: skip
    trainer.fit(model, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return model
