"""Pictures that a model draws while it trains: for sheets and for evaluations."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from omnigen2.data.batches import Example, Pixels
from omnigen2.dit import DiffusionTransformer
from omnigen2.encoders import drawing
from omnigen2.flow import TimeShift
from omnigen2.generate import EncodedSample, Sampling, TextStates, denoise
from omnigen2.training.flow_matching.encoded import BatchEncoder


class PictureVerdict(NamedTuple):
    """What a judge says about one picture.

    Attributes:
        words: Empty if there is nothing to say.
        passed: None if it was not judged.
    """

    words: str
    passed: bool | None


class PictureJudge(ABC):
    """Says whether a picture shows what was asked for."""

    @abstractmethod
    def judge(self, example: Example, picture: Pixels) -> PictureVerdict:
        """Judge one picture.

        Args:
            example: What was asked for.
            picture: In [-1, 1], shape (3, height, width).

        Returns:
            The verdict.
        """


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn during training.

    Attributes:
        sampling: Steps, guidance, solver.
        seed: Of the noise of the first picture; the others have those after it.
        shown: Pictures on a sheet: the first examples of the first validation batch.
        judge: Judges them; none if None.
    """

    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    shown: int = 8
    judge: PictureJudge | None = None

    def __post_init__(self) -> None:
        if self.shown < 1 or self.seed < 0:
            raise ValueError(f"Drawing needs shown >= 1 and seed >= 0, got {self.shown} and {self.seed}")


@torch.no_grad()
def draw(
    dit: DiffusionTransformer,
    encoder: BatchEncoder,
    examples: Sequence[Example],
    sampling: Sampling,
    shift: TimeShift,
    seed: int,
) -> list[Pixels]:
    """Draw what examples ask for, in one packed batch.

    Args:
        dit: The transformer.
        encoder: What it was trained with.
        examples: With targets, which give the sizes.
        sampling: Steps, guidance, solver.
        shift: The time shift.
        seed: Of the first picture's noise; the others have those after it.

    Returns:
        Pictures in [-1, 1], shape (3, height, width), on the host.
    """
    states = _states(encoder, examples)
    negative = negative_states(encoder)
    samples: list[EncodedSample] = []
    for number, (example, text) in enumerate(zip(examples, states, strict=True)):
        references = encoder.codec.encode(example.references, "mode")
        samples.append(EncodedSample(text, negative, tuple(references), _noise(encoder, example, seed + number)))
    latents = denoise(dit, samples, sampling, shift)
    return [picture.cpu() for picture in encoder.codec.decode(latents)]


def _states(encoder: BatchEncoder, examples: Sequence[Example]) -> list[TextStates]:
    packed = encoder.text.of(examples)
    return list(packed.states.split(list(packed.borders.lengths)))


def negative_states(encoder: BatchEncoder) -> TextStates:
    """What the unguided branches read: the states of an empty prompt.

    Args:
        encoder: What the transformer was trained with.

    Returns:
        Shape (tokens, text_dim).
    """
    reader = encoder.text.encoder
    return reader(reader.tokenizer([drawing("")])).states


def _noise(encoder: BatchEncoder, example: Example, seed: int) -> torch.Tensor:
    if example.target is None:
        raise ValueError(f"{example.key} has no target, which says how large a picture to draw; give it one")
    height, width = (side // encoder.codec.reduction for side in example.target.shape[1:])
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(encoder.codec.channels, height, width, generator=generator)
