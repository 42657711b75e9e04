"""Pre-training, fine-tuning and adapter training of the transformer with rectified flow."""

from functools import partial
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from typing_extensions import override

from omnigen2.data.batches import Batch
from omnigen2.dit import Inputs, forward_flops
from omnigen2.flow import RectifiedFlowObjective, TimeBins, VelocityModel, share_of_elements
from omnigen2.layout import Layout
from omnigen2.runner.dry_run import planned_batches
from omnigen2.training.flow_matching.drawing import Drawing
from omnigen2.training.flow_matching.flow_model import FlowModel, SettingsError, TextPart
from omnigen2.training.parts import (
    CodecSource,
    LearningRate,
    OptimizerRecipe,
    Saved,
    Stream,
    TransformerPart,
    activation_bytes,
    check_precision,
    frozen_bytes,
    with_companion,
)

FORWARDS = 3
"""A training step is about so many forward passes: the backward pass is two."""


class FlowMatchingModule(FlowModel):
    """Trains a transformer to predict the velocity from noise to data, given texts and references.

    The loss of a batch depends on the weights, the batch, the seed, the rank and the number of batches before it, on no
    random state: a run that goes on makes the same draws as one that was never stopped. The gradient is that of the
    mean over all elements of all ranks and accumulated batches, however these are cut.

    Logged: `train/loss` at every step; `eval/loss` at every validation, at evenly spread times and with the same noise
    each time.

    Args:
        objective: Times, shift, weighting. The other arguments are those of `FlowModel`.

    Source: arXiv:2506.18871, section 4 (training); the loss as in the released training code.
    """

    shows_validation = True
    """Sheets of samples show validation examples: `SampleGrid` refuses a run without any."""

    def __init__(  # noqa: PLR0913 (each is a key of the recipe)
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
        adapter: str | None = None,
    ) -> None:
        shift = objective.shift
        super().__init__(
            transformer, text, codec, shift, optimizer, schedule, weights, optimizer_state, drawing, saved, adapter
        )
        self.objective = objective
        self.time_bins: TimeBins | None = None
        self._shares: list[Tensor] = []  # elements of the batches whose gradients are being accumulated
        self._planned: tuple[ref[Batch], Layout] | None = None  # of the last batch

    @override
    def setup(self, stage: str) -> None:
        """Refuse a precision that leaves neither batches nor weights as they are, or that the processor emulates.

        Raises:
            SettingsError: If the trainer would turn everything into another type.
            PrecisionError: If the processor would emulate bfloat16.
        """
        super().setup(stage)
        if (precision := str(self.trainer.precision)).endswith("-true") and precision != "32-true":
            raise SettingsError(
                f"trainer.precision is {precision}, but weights, times and data stay float32 here; use "
                f"{'16-mixed' if precision.startswith('16') else 'bf16-mixed'}, which computes in half precision"
            )
        check_precision(precision, self.trainer.strategy.root_device)

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        generator = self.seeded(Stream.TRAINING_NOISE, self.trainer.fit_loop.total_batch_idx)
        inputs, data, owners, tokens = self.encoder(batch, generator)
        self._planned = (ref(batch), inputs.layout)
        self._shares.append(share_of_elements([data.numel()], data.device))
        out = self.objective(self._velocity(inputs), data, owners, tokens, generator, self._shares[0])
        self.time_bins = out.bins
        self.log("train/loss", out.loss.detach(), batch_size=len(batch))
        return out.loss

    @override
    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Turn the accumulated gradients into those of the mean over all elements."""
        shares, self._shares = self._shares, []
        accumulated = self.trainer.accumulate_grad_batches
        if accumulated > 1:
            factor = (shares[0] * accumulated / torch.stack(shares).sum()).float()
            for parameter in self.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(factor)

    @override
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure the loss at evenly spread times, with noise that depends on the batch's number alone."""
        inputs, data, owners, tokens = self.encoder(batch)
        times = self.objective.shift((torch.arange(len(batch)) + 0.5) / len(batch), tokens).to(data.device)
        noise = torch.randn(data.shape, generator=self.seeded(Stream.EVALUATION_NOISE, batch_idx)).to(data.device)
        out = self.objective.at(self._velocity(inputs), noise, data, times, owners)
        self.log("eval/loss", out.loss, batch_size=data.numel(), on_epoch=True, sync_dist=True)

    def batch_samples(self, batch: Batch) -> int:
        """Number of samples of a batch."""
        return len(batch)

    def batch_tokens(self, batch: Batch) -> int:
        """Number of tokens of a batch."""
        return self._layout(batch).tokens

    def batch_flops(self, batch: Batch) -> int:
        """Arithmetic of a training step of the transformer on a batch."""
        return FORWARDS * forward_flops(self.dit.config, self._layout(batch))

    def tokens_per_step(self) -> int | None:
        """Tokens of an optimizer step of all processes with full batches; None if the data cannot say."""
        planned = planned_batches(self.trainer)
        return None if planned is None else planned[0].tokens * planned[1]

    def flops_per_step(self) -> int | None:
        """Arithmetic of the transformer in such a step, without recomputation and without the frozen encoders."""
        planned = planned_batches(self.trainer)
        return None if planned is None else FORWARDS * forward_flops(self.dit.config, planned[0]) * planned[1]

    def memory_of_step(self) -> dict[str, int] | None:
        """Bytes of activations and of the frozen encoders, for a base that is chosen to be small.

        None for others, or if the data do not say or the encoders are not there.
        """
        planned = planned_batches(self.trainer)
        encoders = frozen_bytes(self.text_part.encoder, self.codec_source)
        if planned is None or encoders is None or self.part.base == "float32":
            return None
        number = self.dit.target_embedder.weight.element_size()
        return {"activations": sum(activation_bytes(self.dit, planned[0], number))} | encoders

    def _layout(self, batch: Batch) -> Layout:
        """The plan of a batch. That of a batch just trained on is known: to plan it anew, its texts are read again."""
        if self._planned is None or self._planned[0]() is not batch:
            self._planned = (ref(batch), self.encoder.layout(batch))
        return self._planned[1]

    def _velocity(self, inputs: Inputs) -> VelocityModel:
        alone = self.trainer.world_size == 1
        return partial(self.dit, condition=inputs) if alone else with_companion(self.dit, inputs)
