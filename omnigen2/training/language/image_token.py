"""The `<|img|>` stage: a vision-language model learns when to draw, and stays otherwise as it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from omnigen2.encoders import Answer, ImageToken, InitialRow, QwenEncoder
from omnigen2.training.language.exchange_metrics import Answered, drawing_metrics
from omnigen2.training.language.exchanges import ExchangeBatch
from omnigen2.training.language.module import VLMModule
from omnigen2.training.parts import LearningRate, OptimizerRecipe, VLMSource

IMAGE_TOKEN_FILE = "image_token.safetensors"  # noqa: S105
FROZEN = "encoder."
"""What the names of frozen weights begin with: checkpoints are without them."""


class ImageTokenModule(VLMModule):
    """Trains the rows of `<|img|>` and nothing else, on requests to draw and questions to answer.

    Questions are needed too: they teach when not to say it. Checkpoints hold the rows alone, the frozen model is
    loaded anew.

    Logged besides, of held-out requests and questions: `val/draws`, `val/refrains`, `val/accuracy` and `val/unchanged`,
    which `drawing_metrics` explains. The answers that must not change are those of the model that the run started from.

    Args:
        initial: Where the rows start: `"mean"` at the mean of all rows, for a model that has never seen the token;
            `"row"` at the model's own. The other arguments are those of `VLMModule`.

    Source: arXiv:2506.18871, section 2: the special token triggers drawing; training section: the vision-language
        model is frozen but for this token.
    """

    def __init__(
        self,
        optimizer: OptimizerRecipe,
        schedule: LearningRate,
        encoder: VLMSource | None = None,
        weights: str | None = None,
        initial: InitialRow = "mean",
        max_new_tokens: int = 32,
    ) -> None:
        super().__init__(optimizer, schedule, encoder, weights, max_new_tokens)
        self.initial: InitialRow = initial
        self.token: ImageToken | None = None
        self.strict_loading = False
        self._before: dict[int, list[Answer | None]] = {}

    @property
    def rows(self) -> ImageToken:
        """What is trained.

        Raises:
            RuntimeError: If `configure_model` was not called yet.
        """
        if self.token is None:
            raise RuntimeError("the rows are made by configure_model(); call it, or let a Trainer do so")
        return self.token

    @override
    def prepare(self, encoder: QwenEncoder) -> None:
        self.token = ImageToken.of(encoder.model, encoder.tokenizer.image_token_id, self.initial)
        self.token.attach(encoder.model)

    @override
    def answered(self, batch: ExchangeBatch, number: int) -> list[Answered]:
        """Answer held-out requests and questions; the questions also as the model did before it was trained."""
        if number not in self._before:
            self._before[number] = self._untrained_answers(batch)
        return list(map(Answered, batch.exchanges, self.answers(batch), self._before[number]))

    @override
    def metrics(self, answered: Sequence[Answered]) -> Mapping[str, float]:
        return drawing_metrics(answered)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state: Mapping[str, Tensor] = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: value for name, value in state.items() if not name.startswith(FROZEN)}

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint without the rows: what is missing would otherwise keep its first value.

        Raises:
            ValueError: If it has other weights than the rows.
        """
        expected = {f"token.{name}" for name in self.rows.state_dict()}
        if set(checkpoint["state_dict"]) != expected:
            raise ValueError(
                f"the checkpoint has the weights {sorted(checkpoint['state_dict'])[:5]}, expected {sorted(expected)}; "
                "go on from a checkpoint of the same recipe, or start from `weights`"
            )

    @override
    @torch.no_grad()
    def save_weights(self, folder: Path) -> None:
        """Write `mllm/` with the rows in it, `processor/` and `image_token.safetensors`, on the first process."""
        if self.global_rank == 0:
            self.rows.merge(self.vlm.model)
            super().save_weights(folder)
            self.rows.save(Path(folder) / IMAGE_TOKEN_FILE)

    def _untrained_answers(self, batch: ExchangeBatch) -> list[Answer | None]:
        """What the frozen model says to the questions without the trained rows."""
        questions = ExchangeBatch(tuple(each for each in batch.exchanges if not each.draws))
        self.rows.detach()
        answers = iter(self.answers(questions) if questions.exchanges else [])
        self.rows.attach(self.vlm.model)
        return [None if each.draws else next(answers) for each in batch.exchanges]
