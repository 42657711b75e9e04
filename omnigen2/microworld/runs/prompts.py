"""Prompts of the micro-world to draw pictures for, without end."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from typing_extensions import override

from omnigen2.data import Example
from omnigen2.microworld.runs.data import MicroWorld
from omnigen2.microworld.tasks import Family, kinds_of, sample_task
from omnigen2.microworld.world import EASY, ImageSize, Vocabulary, sample_glyphs
from omnigen2.training.parts import StepLoader, Stream

Asked: TypeAlias = Literal["text_to_image", "edit", "in_context", "letters"]


class MicroPrompts(MicroWorld):
    """Prompts of the micro-world, each with the task that a verifier needs; and the world's held-out examples.

    Args:
        size: Side of all pictures in pixels.
        steps: Iterations of one epoch: at least as many as the training has.
        asked: Share of each family among the prompts; `letters` asks for text. Only ratios count.
        prompts: How many different prompts there are, at least 1.
        families: What validation and evaluation look at, whatever is asked; all three families by default.
        multiple: Side of one token in pixels: the codec's factor times the transformer's patch size.
        validation: Examples of each kind in the validation batch.

    Raises:
        ValueError: If a number is out of range, or a family has a share below 0.
    """

    def __init__(
        self,
        size: ImageSize,
        steps: int,
        asked: Mapping[Asked, float] | None = None,
        prompts: int = 4096,
        families: Mapping[Family, float] | None = None,
        vocabulary: Vocabulary = EASY,
        multiple: int = 8,
        validation: int = 1,
        seed: int = 0,
    ) -> None:
        everything: dict[Family, float] = {"text_to_image": 1.0, "edit": 1.0, "in_context": 1.0}
        evaluated = everything if families is None else families
        super().__init__(size, steps, 1, evaluated, vocabulary, multiple, None, validation, seed)
        only: dict[Asked, float] = {"text_to_image": 1.0}
        shares = only if asked is None else asked
        if prompts < 1 or min(shares.values(), default=0) < 0 or not any(shares.values()):
            raise ValueError(
                "MicroPrompts needs prompts >= 1 and shares of at least 0, one of them positive, got "
                f"{prompts} and {dict(shares)}"
            )
        self.asked: dict[Asked, float] = dict(shares)
        self.prompts = prompts

    @override
    def train_dataloader(self) -> StepLoader[Any]:
        """Numbers of iterations: prompts are drawn by what counts the finished ones."""
        return StepLoader(lambda step: step, self.steps)

    def prompt(self, number: int) -> Example:
        """The prompt of a number, with its task."""
        rng = Stream.PROMPTS.numpy(self.seed, number)
        names = list(self.asked)
        shares = np.array([self.asked[name] for name in names])
        family = names[int(rng.choice(len(names), p=shares / shares.sum()))]
        key = f"prompt:{number}"
        if family == "letters":
            return self.example(sample_glyphs(rng), key)
        kinds = kinds_of(family, self.vocabulary)
        return self.example(sample_task(family, kinds[int(rng.integers(len(kinds)))], self.vocabulary, rng), key)
