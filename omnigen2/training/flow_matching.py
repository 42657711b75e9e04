"""Pre-training, fine-tuning and adapter training of the transformer with rectified flow."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, assert_never, cast

import lightning as L
import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from omnigen2.data.collate import Batch, Example, Pixels
from omnigen2.dit import DiffusionTransformer, Inputs
from omnigen2.dit.flops import forward_flops
from omnigen2.encoders import HiddenStateBridge, PromptRules
from omnigen2.flow import RectifiedFlowObjective, VelocityModel
from omnigen2.flow.elements import share_of_elements
from omnigen2.flow.objective import TimeBins
from omnigen2.training.codecs import CodecSource
from omnigen2.training.companion import with_companion
from omnigen2.training.drawing import Drawing, draw
from omnigen2.training.ema import EMA
from omnigen2.training.encoded import BatchEncoder
from omnigen2.training.lora import is_adapter, save_lora
from omnigen2.training.model_folder import ADAPTER, Saved, save_plain_transformer, save_rest
from omnigen2.training.optimizers import OptimizerRecipe
from omnigen2.training.parallel import shard_transformer
from omnigen2.training.planned import planned_batches
from omnigen2.training.samples import GridItem
from omnigen2.training.schedules import LearningRate, lambda_lr
from omnigen2.training.shards import is_first_process
from omnigen2.training.text_states import TextStates
from omnigen2.training.transformer_part import TransformerPart
from omnigen2.training.vlm import VLMSource

FORWARDS = 3
"""A training step is about so many forward passes: the backward pass is two."""
Purpose: TypeAlias = Literal["train", "evaluate"]


@dataclass(frozen=True)
class TextPart:
    """What a recipe says about the reading of instructions.

    Attributes:
        encoder: The frozen vision-language model.
        bridge: Which of its states are passed on; the released model's by default.
        rules: How prompts become tokens; the official training cuts at 888.
        remembered: States of so many instructions are kept, see `TextStates`.
    """

    encoder: VLMSource
    bridge: HiddenStateBridge = field(default_factory=HiddenStateBridge)
    rules: PromptRules = field(default_factory=lambda: PromptRules(max_tokens=888, overflow="cut"))
    remembered: int = 0


class FlowMatchingModule(L.LightningModule):
    """Trains a transformer to predict the velocity from noise to data, given texts and references.

    The loss of a batch depends on the weights, the batch, the seed, the rank and the number of batches before it, on no
    random state: a run that goes on makes the same draws as one that was never stopped. The gradient is that of the
    mean over all elements of all ranks and accumulated batches, however these are cut.

    Logged: `train/loss` at every step; `eval/loss` at every validation, at evenly spread times and with the same noise
    each time.

    Args:
        transformer: Its sizes or nothing (then those of the weights), and how it is run.
        text: What reads instructions; frozen.
        codec: What makes latents; frozen.
        objective: Times, shift, weighting.
        optimizer: Makes the optimizer.
        schedule: Of the learning rate.
        weights: A model folder with `transformer/` to start from; new weights if None.
        optimizer_state: A file to go on with the optimizer of another run: what its `weights/optimizer.pt` holds.
        drawing: How samples are drawn, for sheets and evaluations.
        saved: What a run leaves in `weights/`: the transformer (or its adapters), or a whole model folder.

    Source: arXiv:2506.18871, section 4 (training); the loss as in the released training code.
    """

    def __init__(
        self,
        transformer: TransformerPart,
        text: TextPart,
        codec: CodecSource,
        objective: RectifiedFlowObjective,
        optimizer: OptimizerRecipe,
        schedule: LearningRate,
        weights: str | None = None,
        optimizer_state: str | None = None,
        drawing: Drawing | None = None,
        saved: Saved = "transformer",
    ) -> None:
        super().__init__()
        self.part = transformer
        self.text_part = text
        self.codec_source = codec
        self.objective = objective
        self.optimizer_recipe = optimizer
        self.schedule = schedule
        self.weights = weights
        self.optimizer_state = optimizer_state
        self.drawing = Drawing() if drawing is None else drawing
        self.saved: Saved = saved
        self.seed = torch.initial_seed()
        self.strict_loading = transformer.lora is None
        self.transformer: DiffusionTransformer | None = None
        self.time_bins: TimeBins | None = None
        self._shares: list[Tensor] = []  # elements of the batches whose gradients are being accumulated
        self._encoder: BatchEncoder | None = None  # no submodule: neither trained, sharded nor saved

    @property
    def dit(self) -> DiffusionTransformer:
        """The transformer.

        Raises:
            RuntimeError: If `configure_model` was not called yet.
        """
        if self.transformer is None:
            raise RuntimeError("the transformer is built by configure_model(); call it, or let a Trainer do so")
        return self.transformer

    @property
    def encoder(self) -> BatchEncoder:
        """The frozen encoders, loaded when they are first used, on this process's device."""
        if self._encoder is None:
            part = self.text_part
            reader = part.encoder.load().to(self.device)
            text = TextStates(reader, part.bridge, part.rules, part.remembered)
            self._encoder = BatchEncoder(text, self.codec_source.load().to(self.device), self.dit.config)
        return self._encoder

    def configure_model(self) -> None:
        """Build the transformer, once, and shard it if the strategy does that."""
        if self.transformer is not None:
            return
        transformer = self.part.build(self.weights)
        trainer: Trainer | None = self._trainer
        if trainer is not None and isinstance(trainer.strategy, ModelParallelStrategy):
            precision = "bf16" if str(trainer.precision).startswith("bf16") else "fp32"
            shard_transformer(transformer, cast(Any, self.device_mesh)["data_parallel"], precision)
        self.transformer = transformer

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of one batch.

        Args:
            batch: Examples with targets.
            batch_idx: Not used.

        Returns:
            The loss.
        """
        generator = self._generator("train", self.trainer.fit_loop.total_batch_idx)
        inputs, data, owners, tokens = self.encoder(batch, generator)
        self._shares.append(share_of_elements([data.numel()], data.device))
        out = self.objective(self._velocity(inputs), data, owners, tokens, generator, self._shares[0])
        self.time_bins = out.bins
        self.log("train/loss", out.loss.detach(), batch_size=len(batch))
        return out.loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Turn the accumulated gradients into those of the mean over all elements."""
        shares, self._shares = self._shares, []
        accumulated = self.trainer.accumulate_grad_batches
        if accumulated > 1:
            factor = (shares[0] * accumulated / torch.stack(shares).sum()).float()
            for parameter in self.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure the loss at evenly spread times, with noise that depends on the batch's number alone.

        Args:
            batch: Examples with targets.
            batch_idx: Its number.
        """
        inputs, data, owners, tokens = self.encoder(batch)
        times = self.objective.shift((torch.arange(len(batch)) + 0.5) / len(batch), tokens).to(data.device)
        noise = torch.randn(data.shape, generator=self._generator("evaluate", batch_idx)).to(data.device)
        out = self.objective.at(self._velocity(inputs), noise, data, times, owners)
        self.log("eval/loss", out.loss, batch_size=data.numel(), on_epoch=True, sync_dist=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The recipe's optimizer and schedule.

        Returns:
            The optimizer, and the schedule, which advances every step.

        Raises:
            ValueError: If the trainer has no `max_steps`.
        """
        if self.trainer.max_steps < 1:
            raise ValueError("the learning rate depends on the number of steps: set trainer.max_steps, not max_epochs")
        optimizer = self.optimizer_recipe.build(self.named_parameters())
        if self.optimizer_state is not None:
            optimizer.load_state_dict(torch.load(self.optimizer_state, weights_only=True, map_location="cpu"))
        schedule = lambda_lr(optimizer, self.schedule.resolved(self.trainer.max_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep adapters alone where only they are trained.

        Args:
            checkpoint: Changed in place.
        """
        if self.part.lora is not None:
            state: dict[str, Any] = checkpoint["state_dict"]
            checkpoint["state_dict"] = {name: value for name, value in state.items() if is_adapter(name)}

    def save_weights(self, folder: Path) -> None:
        """Write what another run can start from: averaged weights where the run has an `EMA`.

        Args:
            folder: Gets `transformer/`, or `adapter/`; and the rest of a model if `saved` is `"model"`.
        """
        with ExitStack() as stack:
            for callback in cast(list[Any], cast(Any, self.trainer).callbacks):
                if isinstance(callback, EMA):
                    stack.enter_context(callback.applied(self))
            if self.part.lora is not None:
                save_lora(self.dit, folder / ADAPTER)
            else:
                save_plain_transformer(self.dit, folder)
        match self.saved:
            case "transformer":
                return
            case "model" if is_first_process():
                text = self.encoder.text
                save_rest(text.encoder, self.text_part.bridge, self.encoder.codec, self.objective.shift, folder)
            case "model":
                return
            case _:
                assert_never(self.saved)

    def draw(self, examples: Sequence[Example], first: int = 0) -> list[Pixels]:
        """Draw what examples ask for, from the same noise every time.

        Args:
            examples: With targets, which give the sizes.
            first: Number of the first of them among all that are drawn: what its noise depends on.

        Returns:
            Pictures in [-1, 1], shape (3, height, width), on the host.
        """
        settings = self.drawing
        return draw(self.dit, self.encoder, examples, settings.sampling, self.objective.shift, settings.seed + first)

    def sample_grid(self, trainer: Trainer) -> list[GridItem]:
        """Draw the first examples of the validation data, for `SampleGrid`.

        Args:
            trainer: Has validation data.

        Returns:
            Prompts, references, pictures, targets and verdicts.

        Raises:
            ValueError: If there are no validation data.
        """
        loader: Any = trainer.val_dataloaders
        batch: Batch | None = None if loader is None else next(iter(loader), None)
        if batch is None:
            raise ValueError("sample sheets show validation examples, and there are none; add validation data")
        examples = batch.to(self.device).examples[: self.drawing.shown]
        judge = self.drawing.judge
        items: list[GridItem] = []
        for example, picture in zip(examples, self.draw(examples), strict=True):
            words, passed = ("", None) if judge is None else judge.judge(example, picture)
            prompt = example.instruction or "(no prompt)"
            items.append(GridItem(prompt, picture, example.references, example.target, words, passed))
        return items

    def batch_samples(self, batch: Batch) -> int:
        """Number of samples of a batch."""
        return len(batch)

    def batch_tokens(self, batch: Batch) -> int:
        """Number of tokens of a batch."""
        return self.encoder.layout(batch).tokens

    def batch_flops(self, batch: Batch) -> int:
        """Arithmetic of a training step of the transformer on a batch."""
        return FORWARDS * forward_flops(self.dit.config, self.encoder.layout(batch))

    def tokens_per_step(self) -> int | None:
        """Tokens of an optimizer step of all processes with full batches; None if the data cannot say."""
        planned = planned_batches(self.trainer)
        return None if planned is None else planned[0].tokens * planned[1]

    def flops_per_step(self) -> int | None:
        """Arithmetic of the transformer in such a step, without recomputation and without the frozen encoders."""
        planned = planned_batches(self.trainer)
        return None if planned is None else FORWARDS * forward_flops(self.dit.config, planned[0]) * planned[1]

    def _velocity(self, inputs: Inputs) -> VelocityModel:
        alone = self.trainer.world_size == 1
        return partial(self.dit, condition=inputs) if alone else with_companion(self.dit, inputs)

    def _generator(self, purpose: Purpose, number: int) -> torch.Generator:
        key = (self.seed % 2**63, ("train", "evaluate").index(purpose), self.global_rank, number)
        return torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> 1))
