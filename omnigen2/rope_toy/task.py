"""The task behind Table 1: given N pictures and a number k, produce the k-th picture.

It can be solved only by telling the pictures apart, by their positions (or an index embedding) alone, and by
copying every token from the same place of the right picture; which is what position schemes differ in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnigen2.dit import patchify, segment
from omnigen2.layout import Layout, TextSegment
from omnigen2.pictures import Picture
from omnigen2.rope_toy.sources import ImageSource, Split

Patches: TypeAlias = Float[Tensor, "tokens patch_channels"]


class ToySample(NamedTuple):
    """One question.

    Attributes:
        references: The pictures.
        asked: Which of them is wanted, counted from 0.
    """

    references: tuple[Picture, ...]
    asked: int


@dataclass(frozen=True)
class ToyBatch:
    """Several questions with their answers, packed.

    Attributes:
        layout: One sample per question: text, references, target.
        references: Patches of all references, shape (reference tokens, patch_channels).
        target: Patches of all targets, which equal those of the asked references, shape (target tokens,
            patch_channels).
        asked: Which reference each question asks for, counted from 0, shape (samples,).
        seed: A number drawn together with the batch; whoever needs more randomness in the same training step
            seeds a generator with it.
    """

    layout: Layout
    references: Float[Tensor, "reference_tokens patch_channels"]
    target: Float[Tensor, "target_tokens patch_channels"]
    asked: Int[Tensor, " samples"]
    seed: int

    def to(self, device: torch.device, non_blocking: bool = False) -> "ToyBatch":
        """Send the tensors to a device; the layout stays on the host."""
        references, target, asked = (
            tensor.to(device, non_blocking=non_blocking) for tensor in (self.references, self.target, self.asked)
        )
        return replace(self, references=references, target=target, asked=asked)


@dataclass(frozen=True, kw_only=True)
class CopyTask:
    """How questions are drawn: the number of pictures, the sizes, and k, each uniformly and independently.

    Sizes and numbers that vary from sample to sample are what makes the task hard: if all pictures have one size,
    every scheme's offsets are constants to be learned by heart.

    Attributes:
        references: Numbers of pictures, each at least 1.
        sides: Heights and widths in tokens, drawn independently, each at least 1.
        asked: Largest k that is asked for, counted from 1; the number of pictures if not given.
        text_tokens: Tokens of the text that states k.
        patch_size: Side of a token in pixels.
    """

    references: tuple[int, ...] = (2, 3)
    sides: tuple[int, ...] = (3, 4)
    asked: int | None = None
    text_tokens: int = 4
    patch_size: int = 2

    def __post_init__(self) -> None:
        for name in ("references", "sides"):
            choices: tuple[int, ...] = getattr(self, name)
            if not choices or min(choices) < 1:
                raise ValueError(f"CopyTask {name} must be one or more numbers, each at least 1, got {choices}")
        for name in ("text_tokens", "patch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"CopyTask {name} must be at least 1, got {getattr(self, name)}")
        if self.asked is not None and self.asked < 1:
            raise ValueError(f"CopyTask asked must be at least 1, got {self.asked}")

    @property
    def max_references(self) -> int:
        """Largest number of pictures in a question."""
        return max(self.references)

    @property
    def max_asked(self) -> int:
        """Largest k that is asked for, counted from 1."""
        return self.max_references if self.asked is None else min(self.asked, self.max_references)

    def with_more_references(self) -> "CopyTask":
        """Always one picture more than at most here, k as here: a model has never seen so many."""
        return replace(self, references=(self.max_references + 1,), asked=self.max_asked)

    def with_larger_images(self) -> "CopyTask":
        """All pictures one token higher and wider than the largest here."""
        return replace(self, sides=(max(self.sides) + 1,))

    def draw(self, source: ImageSource, split: Split, rng: np.random.Generator) -> ToySample:
        """Draw one question."""
        number = int(rng.choice(self.references))
        sizes = rng.choice(self.sides, (number, 2)) * self.patch_size
        pictures = tuple(source.draw(int(height), int(width), split, rng) for height, width in sizes)
        return ToySample(pictures, int(rng.integers(min(number, self.max_asked))))

    def batch(self, source: ImageSource, split: Split, samples: int, key: Sequence[int]) -> ToyBatch:
        """Draw a batch: a pure function of its arguments; `key` names it, such as (seed, step), not negative."""
        rng = np.random.default_rng(key)
        seed = int(rng.integers(2**31))
        return self.collate([self.draw(source, split, rng) for _ in range(samples)], seed)

    def collate(self, samples: Sequence[ToySample], seed: int) -> ToyBatch:
        """Pack at least one question; for the seed see `ToyBatch`."""
        patch = self.patch_size
        patches = [[patchify(picture, patch) for picture in sample.references] for sample in samples]
        return ToyBatch(
            layout=Layout(
                tuple(
                    (
                        TextSegment(self.text_tokens),
                        *(segment(picture, patch, "reference") for picture in sample.references),
                        segment(sample.references[sample.asked], patch, "target"),
                    )
                    for sample in samples
                )
            ),
            references=torch.cat([tokens for pictures in patches for tokens in pictures]),
            target=torch.cat([pictures[sample.asked] for pictures, sample in zip(patches, samples, strict=True)]),
            asked=torch.tensor([sample.asked for sample in samples]),
            seed=seed,
        )
