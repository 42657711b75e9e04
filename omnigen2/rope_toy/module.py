"""The toy experiment's LightningModule: how the copy model is trained, evaluated and watched."""

from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

import lightning as L
import torch
from jaxtyping import Float
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from typing_extensions import override

from omnigen2.dit import TOY, TransformerConfig
from omnigen2.flow import (
    EulerSolver,
    IdentityShift,
    RectifiedFlowObjective,
    UniformTimes,
    VelocityModel,
    mean_per_sample,
    time_grid,
)
from omnigen2.rope import PositionScheme
from omnigen2.rope_toy.data import EVALUATIONS
from omnigen2.rope_toy.model import CopyModel
from omnigen2.rope_toy.samples import answers, richest, save_answers
from omnigen2.rope_toy.task import CopyTask, Patches, ToyBatch
from omnigen2.training.parts import LearningRate, OptimizerRecipe, scheduled

Objective: TypeAlias = Literal["reconstruction", "flow"]

SAMPLES_KEPT = 4
"""So many questions of the evaluation set, those with the richest pictures, are kept with their answers."""


class ToyModule(L.LightningModule):
    """Trains a `CopyModel` and measures how well it copies.

    Logged at every validation, at the number of optimizer steps done:

    - `eval/loss`: mean squared error of the answer's pixels (in [-1, 1]), averaged over each sample, then over the
      samples; with the flow objective the answer is sampled, from the same noise every time;
    - after the last step, `eval/more_references` and `eval/larger_images`: the same error on questions with one
      picture more, and with larger pictures, than any in training.

    Args:
        positions: Where tokens stand: what the experiment compares.
        task: The questions.
        optimizer: Of all weights.
        schedule: Of the learning rate.
        config: Sizes of the transformer.
        image_index: Whether references carry an index embedding.
        objective: `"reconstruction"`, the paper's: the answer is the model's direct output and its pixels' error is
            the loss. `"flow"`: rectified flow with uniform times, the target being noised.
        sampling_steps: Euler steps of an answer with the flow objective, at least 1.
        sample_steps: Validations after which a few answers are kept as `samples/step_<number>.safetensors` in
            the trainer's root folder; those after the last step are always kept.

    Raises:
        ValueError: If `sampling_steps` is below 1, or task and transformer do not fit together.
    """

    def __init__(
        self,
        positions: PositionScheme,
        task: CopyTask,
        optimizer: OptimizerRecipe,
        schedule: LearningRate,
        config: TransformerConfig = TOY,
        image_index: bool = False,
        objective: Objective = "reconstruction",
        sampling_steps: int = 8,
        sample_steps: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        if sampling_steps < 1:
            raise ValueError(f"ToyModule needs sampling_steps of at least 1, got {sampling_steps}")
        self.model = CopyModel(task, config, positions, image_index)
        self.objective: Objective = objective
        self.optimizer = optimizer
        self.schedule = schedule
        self.sampling_steps = sampling_steps
        self.sample_steps = sample_steps
        self.flow = RectifiedFlowObjective(UniformTimes(), IdentityShift())

    @override
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

    @override
    def training_step(self, batch: ToyBatch, batch_idx: int) -> Tensor:
        """The loss of one batch; it depends on the weights and the batch alone."""
        match self.objective:
            case "reconstruction":
                loss = self.error(self.model(batch), batch)
            case "flow":
                tokens = batch.layout.per_sample("target").lengths
                loss = self.flow(self._velocity(batch), batch.target, _owners(batch), tokens, _generator(batch)).loss
            case _:
                assert_never(self.objective)
        self.log("train/loss", loss.detach())
        return loss

    @override
    def validation_step(self, batch: ToyBatch, batch_idx: int) -> None:
        """Measure the error on a whole evaluation set (see `EVALUATIONS`); all but the first wait for the last step."""
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
        """The model's answers: always the same for the same weights and batch."""
        match self.objective:
            case "reconstruction":
                return self.model(batch)
            case "flow":
                noise = torch.randn(batch.target.shape, generator=_generator(batch)).to(batch.target.device)
                times = time_grid(self.sampling_steps, IdentityShift(), batch.layout.per_sample("target").lengths)
                return EulerSolver().solve(self._velocity(batch), noise, times, _owners(batch))
            case _:
                assert_never(self.objective)

    def error(self, answer: Patches, batch: ToyBatch) -> Float[Tensor, ""]:
        """Mean squared error of the answers per sample, averaged over the samples."""
        return mean_per_sample((answer - batch.target).square(), _owners(batch), len(batch.layout)).mean()

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        return scheduled(self.optimizer.build(self.named_parameters()), self.schedule, self.trainer.max_steps)

    def _velocity(self, batch: ToyBatch) -> VelocityModel:
        return partial(self.model.dit, condition=self.model.dit.prepare(self.model.inputs(batch)))


def _owners(batch: ToyBatch) -> Tensor:
    return batch.layout.segments("target").owners(batch.target.device)


def _generator(batch: ToyBatch) -> torch.Generator:
    return torch.Generator().manual_seed(batch.seed)
