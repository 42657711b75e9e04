"""Batches of questions and requests for the stages of the vision-language model."""

from abc import ABC, abstractmethod

import lightning as L
import numpy as np
from typing_extensions import override

from omnigen2.data import Opened, Sample, TextLimit, check_data, open_data
from omnigen2.encoders import SYSTEM_PROMPT
from omnigen2.files import check_most
from omnigen2.pictures import ImageReader
from omnigen2.training.language.exchanges import Exchange, ExchangeBatch, exchange_of
from omnigen2.training.parts import StepLoader, Stream


class SampleStream(ABC):
    """Draws training examples by lot."""

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Sample:
        """Draw one example; `rng` is the only source of randomness."""

    def check(self, texts: TextLimit | None = None) -> None:  # noqa: B027
        """Refuse examples that cannot be drawn, as far as it is known without opening pictures; by default none.

        Args:
            texts: How long an example may be.
        """


class StoredSamples(SampleStream):
    """Examples of files in the official layout, or of what `omnigen2 data optimize` wrote.

    Each draw takes a source by the weights of the mixture, then any of its examples. The files are opened at the first
    draw, so that a recipe can be built where its data are not.

    Args:
        path: See `omnigen2.data.open_data`.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._opened: Opened | None = None

    @override
    def check(self, texts: TextLimit | None = None) -> None:
        check_data(self.path, texts=texts)

    @override
    def draw(self, rng: np.random.Generator) -> Sample:
        if self._opened is None:
            self._opened = open_data(self.path)
        names = list(self._opened.sources)
        weights = np.array([self._opened.weights[name] for name in names])
        source = self._opened.sources[names[int(rng.choice(len(names), p=weights / weights.sum()))]]
        return source[int(rng.integers(len(source)))]


class ExchangeData(L.LightningDataModule):
    """Batches of exchanges: a pure function of seed, step and process; the evaluation set is always the same.

    Args:
        train: Where training examples come from.
        evaluation: Where held-out examples come from.
        seed: Of the training batches, at least 0.
        steps: Training batches in an epoch and process; give it the trainer's `max_steps`, times the batches
            that one optimizer step accumulates.
        batch_size: Exchanges per training batch and process, at least 1.
        evaluation_size: Held-out exchanges, at least 1.
        evaluation_batch_size: Of them at once, at least 1.
        system: System prompt; by default the one that drawing and chatting use.
    """

    def __init__(
        self,
        train: SampleStream,
        evaluation: SampleStream,
        seed: int,
        steps: int,
        batch_size: int = 32,
        evaluation_size: int = 256,
        evaluation_batch_size: int = 64,
        system: str = SYSTEM_PROMPT,
    ) -> None:
        super().__init__()
        for name, size in (
            ("batch_size", batch_size),
            ("evaluation_size", evaluation_size),
            ("evaluation_batch_size", evaluation_batch_size),
        ):
            check_most(name, size, 2**20)
        if seed < 0 or batch_size < 1 or evaluation_size < 1 or evaluation_batch_size < 1:
            raise ValueError(
                f"ExchangeData needs seed >= 0 and sizes >= 1, got seed={seed}, batch_size={batch_size}, "
                f"evaluation_size={evaluation_size}, evaluation_batch_size={evaluation_batch_size}"
            )
        self.train = train
        self.evaluation = evaluation
        self.seed = seed
        self.batch_size = batch_size
        self.evaluation_size = evaluation_size
        self.evaluation_batch_size = evaluation_batch_size
        self.system = system
        self.reader = ImageReader()
        self.loader = StepLoader(self.training_batch, steps)

    def check(self, texts: TextLimit | None = None) -> None:
        """Look through all examples, of training and held-out ones, see `SampleStream.check`."""
        self.train.check(texts)
        self.evaluation.check(texts)

    def training_batch(self, step: int) -> ExchangeBatch:
        """The batch of one step, counted from 0: the same for the same seed, step and number of the process."""
        rank = self.trainer.global_rank if self.trainer else 0
        rng = Stream.TRAINING_EXCHANGES.numpy(self.seed, step, rank)
        return ExchangeBatch(tuple(self._exchange(self.train.draw(rng)) for _ in range(self.batch_size)))

    def evaluation_batch(self, number: int) -> ExchangeBatch:
        """One batch, counted from 0, of the evaluation set: the same for every seed and in every process."""
        first = number * self.evaluation_batch_size
        numbers = range(first, min(first + self.evaluation_batch_size, self.evaluation_size))
        samples = (self.evaluation.draw(Stream.EVALUATION_EXCHANGES.numpy(0, each)) for each in numbers)
        return ExchangeBatch(tuple(map(self._exchange, samples)))

    @override
    def train_dataloader(self) -> StepLoader[ExchangeBatch]:
        return self.loader

    @override
    def val_dataloader(self) -> StepLoader[ExchangeBatch]:
        return StepLoader(self.evaluation_batch, -(-self.evaluation_size // self.evaluation_batch_size))

    def _exchange(self, sample: Sample) -> Exchange:
        return exchange_of(sample, self.reader, self.system)
