"""The understanding stage: a vision-language model learns to answer questions about pictures.

The paper starts from Qwen2.5-VL, which can. In the micro-world this stage takes its place.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from omnigen2.training.language.exchange_metrics import Answered, understanding_metrics
from omnigen2.training.language.exchanges import ExchangeBatch
from omnigen2.training.language.module import VLMModule
from omnigen2.training.parts import LearningRate, OptimizerRecipe, VLMSource, save_vlm


class UnderstandingModule(VLMModule):
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
        super().__init__(optimizer, schedule, encoder, weights, max_new_tokens)

    def configure_model(self) -> None:
        """Load the model, once."""
        if self.encoder is None:
            self.encoder = self.source.load()
            self.encoder.model.requires_grad_(True)

    def answered(self, batch: ExchangeBatch, number: int) -> list[Answered]:
        """Answer held-out questions."""
        return list(map(Answered, batch.exchanges, self.answers(batch)))

    def metrics(self, answered: Sequence[Answered]) -> Mapping[str, float]:
        """What was right."""
        return understanding_metrics(answered)

    @torch.no_grad()
    def save_weights(self, folder: Path) -> None:
        """Write `mllm/` and `processor/`, on the first process.

        Args:
            folder: Where to.
        """
        if self.global_rank == 0:
            save_vlm(self.vlm, folder)
