"""The micro-world's questions and requests as endless streams, with held-out ones that are never trained."""

from typing import Literal, TypeAlias
from zlib import crc32

import numpy as np
from typing_extensions import override

from omnigen2.data import Sample
from omnigen2.microworld.tasks import sample_caption, sample_context, sample_edit, sample_question, to_sample
from omnigen2.microworld.world import ImageSize, Vocabulary, full_vocabulary
from omnigen2.training.language import SampleStream

Part: TypeAlias = Literal["train", "held_out"]

HELD_OUT = 8
"""One of so many requests is never trained."""


class MicroExchanges(SampleStream):
    """Questions about drawn scenes, and requests: captions, edits and in-context tasks, equally likely.

    Requests are split by their words: those of the one part are never among those of the other. Questions have few
    words but always new pictures.

    Args:
        requests: Share of requests, in [0, 1].
        vocabulary: What scenes are made of; by default everything that can be told apart at this size.

    Raises:
        ValueError: If the share is out of range.
    """

    def __init__(self, part: Part, requests: float, size: ImageSize = 64, vocabulary: Vocabulary | None = None) -> None:
        if not 0 <= requests <= 1:
            raise ValueError(f"requests is a share and must be in [0, 1], got {requests}")
        self.part: Part = part
        self.requests = requests
        self.size: ImageSize = size
        self.vocabulary = vocabulary or full_vocabulary(size)

    @override
    def draw(self, rng: np.random.Generator) -> Sample:
        if rng.random() >= self.requests:
            return to_sample(sample_question(self.vocabulary, rng), self.size)
        while True:
            makers = (sample_caption, sample_edit, sample_context)
            task = makers[int(rng.integers(len(makers)))](self.vocabulary, rng)
            held_out = crc32(task.instruction.encode()) % HELD_OUT == 0
            if held_out == (self.part == "held_out"):
                return to_sample(task, self.size)
