"""The understanding stage: a vision-language model learns to answer questions about pictures.

The paper starts from Qwen2.5-VL, which can. In the micro-world this stage takes its place.
"""

from collections.abc import Mapping, Sequence

from typing_extensions import override

from omnigen2.encoders import QwenEncoder
from omnigen2.training.language.exchange_metrics import Answered, understanding_metrics
from omnigen2.training.language.module import VLMModule


class UnderstandingModule(VLMModule):
    """Trains all of a vision-language model on the words of right answers.

    Logged besides: `val/accuracy`, the share of questions that are answered right word for word; `val/majority`, the
    accuracy of one who does not see the pictures (see `understanding_metrics`).
    """

    @override
    def prepare(self, encoder: QwenEncoder) -> None:
        encoder.model.requires_grad_(True)

    @override
    def metrics(self, answered: Sequence[Answered]) -> Mapping[str, float]:
        return understanding_metrics(answered)
