"""A very small FlowMatchingModule on the micro-world, for the tests."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from omnigen2.data import Batch, ConditionDropout
from omnigen2.dit import TransformerConfig
from omnigen2.encoders import HiddenStateBridge
from omnigen2.flow import IdentityShift, RectifiedFlowObjective, UniformTimes, share_of_elements
from omnigen2.generate import Sampling
from omnigen2.microworld.runs import MicroWorld, RandomMicroVLM
from omnigen2.training.flow_matching import Drawing, FlowMatchingModule, TextPart
from omnigen2.training.parts import DCT, AdamWRecipe, TransformerPart, WarmupConstant
from tests.training.rank_parts import gradients_of, silent_trainer

CONFIG = TransformerConfig(
    hidden_size=24, num_layers=1, num_refiner_layers=1, num_heads=2, num_kv_heads=1, axes=(4, 4, 4), in_channels=12,
    text_dim=64, multiple_of=8, gate_bias=0.5,
)  # fmt: skip
MIXED = {"text_to_image": 1.0, "edit": 1.0, "in_context": 1.0}


class Gradients(Callback):
    """Keeps the gradients of the first optimizer step."""

    def __init__(self) -> None:
        self.found: dict[str, Tensor] = {}

    def on_before_zero_grad(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if not self.found:
            self.found = gradients_of(pl_module)


class FixedDraws(FlowMatchingModule):
    """Every example has the noise and the time that its key gives it, whatever batch it is in."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, data, owners, tokens = self.encoder(batch)
        seeds = [sum(example.key.encode()) for example in batch.examples]
        times = torch.tensor([(seed % 97) / 97 for seed in seeds])
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        width = data.shape[1]
        noise = torch.cat([torch.randn(n, width, generator=own) for n, own in zip(tokens, generators, strict=True)])
        self._shares.append(share_of_elements([data.numel()]))
        return self.objective.at(self._velocity(inputs), noise, data, times, owners, self._shares[0]).loss


def module(
    part: TransformerPart | None = None, seed: int = 0, factor: int = 2, lr: float = 1e-2, **settings: Any
) -> FlowMatchingModule:
    """A module with a seed of its own."""
    torch.manual_seed(seed)
    return FlowMatchingModule(
        transformer=part or TransformerPart(CONFIG),
        text=TextPart(RandomMicroVLM(), HiddenStateBridge(template="drop"), remembered=1000),
        codec=DCT(factor),
        objective=RectifiedFlowObjective(UniformTimes(), IdentityShift()),
        optimizer=AdamWRecipe(lr=lr),
        schedule=WarmupConstant(0),
        drawing=settings.pop("drawing", Drawing(Sampling(steps=2, text_scale=2.0), shown=2)),
        **settings,
    )


def world(size: Any = 16, steps: int = 4, batch_size: int = 4, **settings: Any) -> MicroWorld:
    """Mixed tasks with dropout."""
    settings = {"families": MIXED, "dropout": ConditionDropout(0.2, 0.5), "validation": 1, "seed": 1} | settings
    return MicroWorld(size, steps, batch_size, multiple=8 if size == 64 else 4, **settings)


def trainer(folder: Path, steps: int, *callbacks: Callback, **settings: Any) -> Trainer:
    """A silent trainer that does not validate."""
    return silent_trainer(folder, steps, *callbacks, **({"limit_val_batches": 0} | settings))


def wake(model: FlowMatchingModule) -> FlowMatchingModule:
    """Build the transformer, and make its velocity differ from zero."""
    model.configure_model()
    torch.manual_seed(9)
    with torch.no_grad():
        for parameter in model.dit.parameters():
            if not parameter.any():
                parameter.normal_(std=0.05)
    return model
