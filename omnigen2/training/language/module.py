"""What the stages of the vision-language model share: the loss on answers, held-out answers, the optimizer."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from typing_extensions import override

from omnigen2.encoders import Answer, QwenEncoder
from omnigen2.training.language.exchange_data import ExchangeData
from omnigen2.training.language.exchange_metrics import Answered
from omnigen2.training.language.exchanges import ExchangeBatch, answer_loss, teach
from omnigen2.training.parts import (
    LearningRate,
    OptimizerRecipe,
    VLMSource,
    limit_of_exchanges,
    save_vlm,
    scheduled,
    vlm_source,
)


class VLMModule(L.LightningModule, ABC):
    """Teaches answers. Which weights learn, and what is measured, is a subclass's matter.

    Logged: `train/loss` and `val/loss`, in nats per token of the answers; and the metrics of the subclass.

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
        encoder: VLMSource | None = None,
        weights: str | None = None,
        max_new_tokens: int = 32,
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
    def prepare(self, encoder: QwenEncoder) -> None:
        """Say what of the model, which is loaded frozen, is trained."""

    @abstractmethod
    def metrics(self, answered: Sequence[Answered]) -> Mapping[str, float]:
        """What is logged of all answers of a validation, without the `val/` in front of the names."""

    @override
    def setup(self, stage: str) -> None:
        """Look through the examples before the model is loaded."""
        if stage == "fit":
            self.check_data(cast(Any, self.trainer).datamodule)

    def check_data(self, data: object) -> None:
        """Refuse examples that cannot be drawn, as far as it is known without opening pictures."""
        if isinstance(data, ExchangeData):
            data.check(limit_of_exchanges(self.source, data.system))

    @override
    def configure_model(self) -> None:
        if self.encoder is None:
            self.encoder = self.source.load()
            self.prepare(self.encoder)

    def answered(self, batch: ExchangeBatch, number: int) -> list[Answered]:
        """Answer a validation batch, which is the same for the same number."""
        return list(map(Answered, batch.exchanges, self.answers(batch)))

    @override
    def training_step(self, batch: ExchangeBatch, batch_idx: int) -> Tensor:
        loss = answer_loss(self.vlm, teach(self.vlm.tokenizer, batch.exchanges))
        self.log("train/loss", loss.detach(), batch_size=len(batch))
        return loss

    @override
    def validation_step(self, batch: ExchangeBatch, batch_idx: int) -> None:
        loss = answer_loss(self.vlm, teach(self.vlm.tokenizer, batch.exchanges))
        self.log("val/loss", loss, batch_size=len(batch))
        self._answered += self.answered(batch, batch_idx)

    @override
    def on_validation_epoch_end(self) -> None:
        self.log_dict({f"val/{name}": value for name, value in self.metrics(self._answered).items()})
        self._answered.clear()

    @override
    def configure_optimizers(self) -> OptimizerLRScheduler:
        return scheduled(self.optimizer.build(self.named_parameters()), self.schedule, self.trainer.max_steps)

    def answers(self, batch: ExchangeBatch) -> list[Answer]:
        """What the model says in each exchange of a batch that is not empty."""
        return self.vlm.answer([each.conversation for each in batch.exchanges], self.max_new_tokens)

    @torch.no_grad()
    def save_weights(self, folder: Path) -> None:
        """Write `mllm/` and `processor/`, on the first process."""
        if self.global_rank == 0:
            save_vlm(self.vlm, folder)
