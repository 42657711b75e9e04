"""Prompts of the micro-world to draw pictures for, without end."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from omnigen2.data import Example
from omnigen2.microworld import EASY, Vocabulary
from omnigen2.microworld.runs.data import MicroWorld
from omnigen2.microworld.tasks import to_json
from omnigen2.microworld.tasks import Family, kinds_of, sample_task
from omnigen2.microworld.world import draw_glyphs, sample_glyphs
from omnigen2.microworld.world import ImageSize
from omnigen2.training.parts import StepLoader, Stream

Asked: TypeAlias = Literal["text_to_image", "edit", "in_context", "letters"]
ASKED: tuple[Asked, ...] = get_args(Asked)


class MicroPrompts(MicroWorld):
    """Prompts of the micro-world, each with the task that a verifier needs; and the world's held-out examples.

    Args:
        size: Side of all pictures in pixels.
        steps: Iterations of one epoch: at least as many as the training has.
        asked: Share of each family among the prompts; `letters` asks for text. Only ratios count.
        prompts: How many different prompts there are, at least 1.
        families: What validation and evaluation look at, whatever is asked; all three families by default.
        vocabulary: What scenes are made of.
        multiple: Side of one token in pixels: the codec's factor times the transformer's patch size.
        validation: Examples of each kind in the validation batch.
        seed: At least 0.

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

    def train_dataloader(self) -> StepLoader[Any]:
        """Numbers of iterations: prompts are drawn by what counts the finished ones."""
        return StepLoader(lambda step: step, self.steps)

    def prompt(self, number: int) -> Example:
        """One prompt.

        Args:
            number: Of the prompt.

        Returns:
            An example with its task.
        """
        rng = Stream.PROMPTS.numpy(self.seed, number)
        names = list(self.asked)
        shares = np.array([self.asked[name] for name in names])
        family = names[int(rng.choice(len(names), p=shares / shares.sum()))]
        key = f"prompt:{number}"
        if family == "letters":
            task = sample_glyphs(rng)
            target = draw_glyphs(task, self.size)
            return Example(
                task="text_to_image",
                source="microworld",
                key=key,
                instruction=task.instruction,
                prompt_dropped=False,
                references=(),
                target=target,
                answer=None,
                meta=to_json(task),
            )
        kinds = kinds_of(family, self.vocabulary)
        return self.example(sample_task(family, kinds[int(rng.integers(len(kinds)))], self.vocabulary, rng), key)
