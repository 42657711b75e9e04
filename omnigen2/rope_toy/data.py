"""The toy experiment's data: questions made on the fly for training, fixed ones for evaluation."""

import lightning as L
from typing_extensions import override

from omnigen2.rope_toy.sources import ImageSource
from omnigen2.rope_toy.task import CopyTask, ToyBatch
from omnigen2.training.parts import StepLoader

EVALUATIONS = ("eval/loss", "eval/more_references", "eval/larger_images")
"""The three evaluation sets, one validation batch each, as the metrics are called."""


class ToyData(L.LightningDataModule):
    """Batches of the copy task.

    A training batch is a pure function of the seed and the step. The evaluation sets are the same for every seed:
    questions as in training but from held-out photographs; the same with one picture more than ever trained; the
    same with larger pictures than ever trained.

    Args:
        seed: Of the training batches, at least 0.
        steps: Training batches in an epoch; give it the trainer's `max_steps`.
        batch_size: Questions per training batch, at least 1.
        evaluation_size: Questions per evaluation set, at least 1.
    """

    def __init__(
        self,
        source: ImageSource,
        task: CopyTask,
        seed: int,
        steps: int,
        batch_size: int = 16,
        evaluation_size: int = 64,
    ) -> None:
        super().__init__()
        if seed < 0 or batch_size < 1 or evaluation_size < 1:
            raise ValueError(
                f"ToyData needs seed >= 0, batch_size >= 1 and evaluation_size >= 1, got seed={seed}, "
                f"batch_size={batch_size}, evaluation_size={evaluation_size}"
            )
        self.source = source
        self.task = task
        self.seed = seed
        self.batch_size = batch_size
        self.loader = StepLoader(self.training_batch, steps)
        self.evaluations = tuple(
            variant.batch(source, "evaluation", evaluation_size, (1, number))
            for number, variant in enumerate((task, task.with_more_references(), task.with_larger_images()))
        )

    def training_batch(self, step: int) -> ToyBatch:
        """The batch of a step, counted from 0: always the same for the same seed and step."""
        return self.task.batch(self.source, "train", self.batch_size, (0, self.seed, step))

    @override
    def train_dataloader(self) -> StepLoader[ToyBatch]:
        return self.loader

    @override
    def val_dataloader(self) -> StepLoader[ToyBatch]:
        """Each evaluation set as one batch, in the order of `EVALUATIONS`."""
        return StepLoader(lambda step: self.evaluations[step % len(EVALUATIONS)], len(EVALUATIONS))
