"""The toy experiment's LightningModule: how the copy model is trained, evaluated and watched."""

import math
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Literal, TypeAlias, assert_never

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from omnigen2.dit import TOY, TransformerConfig
from omnigen2.flow import EulerSolver, IdentityShift, RectifiedFlowObjective, UniformTimes, mean_per_sample, time_grid
from omnigen2.rope import PositionScheme
from omnigen2.rope_toy.data import EVALUATIONS
from omnigen2.rope_toy.model import CopyModel
from omnigen2.rope_toy.samples import answers, richest, save_answers
from omnigen2.rope_toy.task import CopyTask, Patches, ToyBatch

Objective: TypeAlias = Literal["reconstruction", "flow"]

SAMPLES_KEPT = 4
"""So many questions of the evaluation set, those with the richest pictures, are kept with their answers."""


class ToyModule(L.LightningModule):
    """Trains a `CopyModel` and measures how well it copies.

    Logged at every validation, at the number of optimizer steps done:

    - `eval/loss`: mean squared error of the answer's pixels (in [-1, 1]), averaged over each sample, then over the
      samples; with the flow objective the answer is sampled, from the same noise every time;
    - `train/step_seconds`: median time of a training step since the last validation;
    - after the last step, `eval/more_references` and `eval/larger_images`: the same error on questions with one
      picture more, and with larger pictures, than any in training.

    The learning rate rises linearly over the warm-up, then falls along a cosine to 5 % of its peak, over the trainer's
    `max_steps`, which must be given.

    Args:
        positions: Where tokens stand: what the experiment compares.
        task: The questions.
        config: Sizes of the transformer.
        image_index: Whether references carry an index embedding.
        objective: `"reconstruction"`, the paper's: the answer is the model's direct output and its pixels' error is
            the loss. `"flow"`: rectified flow with uniform times, the target being noised.
        learning_rate: The peak, above 0.
        warmup_steps: Steps until the peak, at least 0.
        sampling_steps: Euler steps of an answer with the flow objective, at least 1.
        sample_steps: Validations after which a few answers are kept as `samples/step_<number>.safetensors` in
            the trainer's root folder; those after the last step are always kept.

    Raises:
        ValueError: If a number is out of range, or task and transformer do not fit together.
    """

    def __init__(
        self,
        positions: PositionScheme,
        task: CopyTask,
        config: TransformerConfig = TOY,
        image_index: bool = False,
        objective: Objective = "reconstruction",
        learning_rate: float = 4e-3,
        warmup_steps: int = 100,
        sampling_steps: int = 8,
        sample_steps: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        if learning_rate <= 0 or warmup_steps < 0 or sampling_steps < 1:
            raise ValueError(
                f"ToyModule needs learning_rate > 0, warmup_steps >= 0 and sampling_steps >= 1, got "
                f"{learning_rate}, {warmup_steps} and {sampling_steps}"
            )
        self.model = CopyModel(task, config, positions, image_index)
        self.objective: Objective = objective
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.sampling_steps = sampling_steps
        self.sample_steps = sample_steps
        self.flow = RectifiedFlowObjective(UniformTimes(), IdentityShift())
        self._step_seconds: list[float] = []
        self._step_started = 0.0

    def on_train_start(self) -> None:
        """Refuse a number of steps after which no validation comes.

        Raises:
            ValueError: If the last step is not followed by a validation.
        """
        steps, interval = self.trainer.max_steps, int(self.trainer.val_check_batch or 1)
        if steps % interval:
            raise ValueError(
                f"trainer.max_steps ({steps}) must be a multiple of trainer.val_check_interval ({interval}), "
                "otherwise the final model is not evaluated"
            )

    def training_step(self, batch: ToyBatch, batch_idx: int) -> Tensor:
        """The loss of one batch; it depends on the weights and the batch alone.

        Args:
            batch: The questions.
            batch_idx: Not used.

        Returns:
            The loss.
        """
        match self.objective:
            case "reconstruction":
                loss = self.error(self.model(batch), batch)
            case "flow":
                tokens = batch.layout.per_sample("target").lengths
                velocity = partial(self.model.dit, condition=self.model.dit.prepare(self.model.inputs(batch)))
                loss = self.flow(velocity, batch.target, self._owners(batch), tokens, _generator(batch)).loss
            case _:
                assert_never(self.objective)
        self.log("train/loss", loss.detach())
        return loss

    def validation_step(self, batch: ToyBatch, batch_idx: int) -> None:
        """Measure the error on one evaluation set, given as a single batch.

        Args:
            batch: The whole set.
            batch_idx: Which set, see `EVALUATIONS`; all but the first wait for the last step.
        """
        last = self.global_step == self.trainer.max_steps
        if batch_idx and not last:
            return
        answer = self.answer(batch)
        self.log_dict(
            {EVALUATIONS[batch_idx]: self.error(answer, batch), "step": float(self.global_step)}, batch_size=1
        )
        if batch_idx == 0 and (last or self.global_step in self.sample_steps):
            shown = richest(answers(batch, answer, self.model.dit.config.patch_size), SAMPLES_KEPT)
            folder = Path(self.trainer.default_root_dir) / "samples"
            save_answers(shown, folder / f"step_{self.global_step:06d}.safetensors")

    def answer(self, batch: ToyBatch) -> Patches:
        """The model's answers: always the same for the same weights and batch.

        Args:
            batch: The questions.

        Returns:
            Patches of the answers, shape (target tokens, patch_channels).
        """
        match self.objective:
            case "reconstruction":
                return self.model(batch)
            case "flow":
                tokens = batch.layout.per_sample("target").lengths
                velocity = partial(self.model.dit, condition=self.model.dit.prepare(self.model.inputs(batch)))
                noise = torch.randn(batch.target.shape, generator=_generator(batch)).to(batch.target.device)
                times = time_grid(self.sampling_steps, IdentityShift(), tokens)
                return EulerSolver().solve(velocity, noise, times, self._owners(batch))
            case _:
                assert_never(self.objective)

    def error(self, answer: Patches, batch: ToyBatch) -> Float[Tensor, ""]:
        """Mean squared error per sample, averaged over the samples.

        Args:
            answer: Patches of the answers, shape (target tokens, patch_channels).
            batch: The questions.

        Returns:
            At least 0.
        """
        return mean_per_sample((answer - batch.target).square(), self._owners(batch), len(batch.layout)).mean()

    def on_train_batch_start(self, batch: ToyBatch, batch_idx: int) -> None:
        """Start the clock."""
        self._step_started = perf_counter()

    def on_train_batch_end(self, outputs: Any, batch: ToyBatch, batch_idx: int) -> None:
        """Stop the clock."""
        self._step_seconds.append(perf_counter() - self._step_started)

    def on_validation_epoch_end(self) -> None:
        """Log the time of a training step, if there were any since the last validation."""
        if self._step_seconds:
            self.log("train/step_seconds", median(self._step_seconds))
            self._step_seconds.clear()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW without decay, warm-up, cosine.

        Returns:
            The optimizer, and the schedule, which advances every step.

        Raises:
            ValueError: If the trainer has no `max_steps`.
        """
        if self.trainer.max_steps < 1:
            raise ValueError("the learning rate depends on the number of steps: set trainer.max_steps, not max_epochs")
        optimizer = AdamW(self.parameters(), lr=self.learning_rate, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
        factor = partial(warm_cosine, warmup=self.warmup_steps, total=self.trainer.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": LambdaLR(optimizer, factor), "interval": "step"}}

    def _owners(self, batch: ToyBatch) -> Tensor:
        return batch.layout.segments("target").owners(batch.target.device)


def warm_cosine(step: int, *, warmup: int, total: int) -> float:
    """The learning rate as a fraction of its peak.

    Args:
        step: Counted from 0.
        warmup: Steps of linear rise; the peak is reached at step `warmup - 1`.
        total: Steps in all.

    Returns:
        In (0, 1]; 0.05 at the end.
    """
    rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
    progress = min(1.0, max(0, step - warmup) / max(1, total - warmup))
    return rise * (0.05 + 0.95 * (1 + math.cos(math.pi * progress)) / 2)


def _generator(batch: ToyBatch) -> torch.Generator:
    return torch.Generator().manual_seed(batch.seed)
