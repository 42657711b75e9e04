"""What the stages of the vision-language model share: the loss on answers, held-out answers, the optimizer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import lightning as L
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from omnigen2.encoders import Answer, QwenEncoder
from omnigen2.training.language.exchange_metrics import Answered
from omnigen2.training.language.exchanges import ExchangeBatch, answer_loss, teach
from omnigen2.training.parts import LearningRate, OptimizerRecipe, VLMSource, lambda_lr, vlm_source


class VLMModule(L.LightningModule, ABC):
    """Teaches answers. Which weights learn, and what is measured, is a subclass's matter.

    Args:
        optimizer: Of what is trained.
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
        encoder: VLMSource | None,
        weights: str | None,
        max_new_tokens: int,
    ) -> None:
        super().__init__()
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
        self.source = vlm_source(encoder, weights, type(self).__name__)
        self.encoder: QwenEncoder | None = None
        self.optimizer = optimizer
        self.schedule = schedule
        self.max_new_tokens = max_new_tokens
        self._answered: list[Answered] = []

    @property
    def vlm(self) -> QwenEncoder:
        """The model.

        Raises:
            RuntimeError: If `configure_model` was not called yet.
        """
        if self.encoder is None:
            raise RuntimeError("the model is loaded by configure_model(); call it, or let a Trainer do so")
        return self.encoder

    @abstractmethod
    def answered(self, batch: ExchangeBatch, number: int) -> Sequence[Answered]:
        """Answer a validation batch.

        Args:
            batch: The same for the same number.
            number: Its number.

        Returns:
            One for each exchange.
        """

    @abstractmethod
    def metrics(self, answered: Sequence[Answered]) -> Mapping[str, float]:
        """What is logged of all answers of a validation, without the `val/` in front of the names.

        Args:
            answered: Those of all batches.

        Returns:
            Numbers by name.
        """

    def training_step(self, batch: ExchangeBatch, batch_idx: int) -> Tensor:
        """The loss of one batch.

        Args:
            batch: What is said and what is to be answered.
            batch_idx: Not used.

        Returns:
            The loss, in nats per token of the answers.
        """
        loss = answer_loss(self.vlm, teach(self.vlm.tokenizer, batch.exchanges))
        self.log("train/loss", loss.detach(), batch_size=len(batch))
        return loss

    def validation_step(self, batch: ExchangeBatch, batch_idx: int) -> None:
        """Answer held-out exchanges.

        Args:
            batch: The same for the same number.
            batch_idx: Its number.
        """
        loss = answer_loss(self.vlm, teach(self.vlm.tokenizer, batch.exchanges))
        self.log("val/loss", loss, batch_size=len(batch))
        self._answered += self.answered(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Log how well was answered."""
        self.log_dict({f"val/{name}": value for name, value in self.metrics(self._answered).items()})
        self._answered.clear()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """The optimizer and the schedule of the recipe.

        Returns:
            Both; the schedule advances every step.
        """
        optimizer = self.optimizer.build(self.named_parameters())
        schedule = lambda_lr(optimizer, self.schedule.resolved(self.trainer.max_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def answers(self, batch: ExchangeBatch) -> list[Answer]:
        """What the model says.

        Args:
            batch: Any; not empty.

        Returns:
            One answer for each exchange.
        """
        return self.vlm.answer([each.conversation for each in batch.exchanges], self.max_new_tokens)
