"""The understanding stage: a vision-language model learns to answer questions about pictures.

The paper starts from Qwen2.5-VL, which can. In the micro-world this stage takes its place.
"""

from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from omnigen2.encoders import QwenEncoder
from omnigen2.training.exchange_metrics import Answered, understanding_metrics
from omnigen2.training.exchanges import ExchangeBatch, answer_loss, teach
from omnigen2.training.optimizers import OptimizerRecipe
from omnigen2.training.schedules import LearningRate, lambda_lr
from omnigen2.training.vlm import VLMSource, save_vlm, vlm_source


class UnderstandingModule(L.LightningModule):
    """Trains all of a vision-language model on the words of right answers.

    Logged: `train/loss`, in nats per token of the answers; `val/loss`; `val/accuracy`, the share of questions that are
    answered right word for word; `val/majority`, the accuracy of one who does not see the pictures (see
    `understanding_metrics`).

    Args:
        optimizer: Of all weights.
        schedule: Of the learning rate.
        encoder: The model to start from.
        weights: A folder that an earlier run has left (`mllm/`, `processor/`); goes before `encoder`.
        max_new_tokens: Longest answer in validation, at least 1.

    Raises:
        ValueError: If there is nothing to start from, or a number is out of range.
    """

    def __init__(
        self,
        optimizer: OptimizerRecipe,
        schedule: LearningRate,
        encoder: VLMSource | None = None,
        weights: str | None = None,
        max_new_tokens: int = 32,
    ) -> None:
        super().__init__()
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
        self.source = vlm_source(encoder, weights, "UnderstandingModule")
        self.encoder: QwenEncoder | None = None
        self.optimizer = optimizer
        self.schedule = schedule
        self.max_new_tokens = max_new_tokens
        self._answered: list[Answered] = []

    @property
    def vlm(self) -> QwenEncoder:
        """The model that is trained.

        Raises:
            RuntimeError: If `configure_model` was not called yet.
        """
        if self.encoder is None:
            raise RuntimeError("the model is loaded by configure_model(); call it, or let a Trainer do so")
        return self.encoder

    def configure_model(self) -> None:
        """Load the model, once."""
        if self.encoder is None:
            self.encoder = self.source.load()
            self.encoder.model.requires_grad_(True)

    def training_step(self, batch: ExchangeBatch, batch_idx: int) -> Tensor:
        """The loss of one batch.

        Args:
            batch: Questions with their answers.
            batch_idx: Not used.

        Returns:
            The loss.
        """
        loss = answer_loss(self.vlm, teach(self.vlm.tokenizer, batch.exchanges))
        self.log("train/loss", loss.detach(), batch_size=len(batch))
        return loss

    def validation_step(self, batch: ExchangeBatch, batch_idx: int) -> None:
        """Answer held-out questions.

        Args:
            batch: Questions with their answers.
            batch_idx: Not used.
        """
        loss = answer_loss(self.vlm, teach(self.vlm.tokenizer, batch.exchanges))
        self.log("val/loss", loss, batch_size=len(batch))
        answers = self.vlm.answer([each.conversation for each in batch.exchanges], self.max_new_tokens)
        self._answered += map(Answered, batch.exchanges, answers)

    def on_validation_epoch_end(self) -> None:
        """Log what was right."""
        self.log_dict({f"val/{name}": value for name, value in understanding_metrics(self._answered).items()})
        self._answered.clear()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer and the schedule of the recipe.

        Returns:
            Both; the schedule advances every step.
        """
        optimizer = self.optimizer.build(self.named_parameters())
        schedule = lambda_lr(optimizer, self.schedule.resolved(self.trainer.max_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @torch.no_grad()
    def save_weights(self, folder: Path) -> None:
        """Write `mllm/` and `processor/`, on the first process.

        Args:
            folder: Where to.
        """
        if self.global_rank == 0:
            save_vlm(self.vlm, folder)
