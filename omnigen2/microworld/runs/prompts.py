"""Prompts of the micro-world to draw pictures for, without end."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from typing_extensions import override

from omnigen2.data import Example
from omnigen2.errors import check_choice
from omnigen2.microworld.runs.data import MicroWorld, drawn_by_share
from omnigen2.microworld.tasks import FAMILIES, Family, kinds_of, sample_task
from omnigen2.microworld.world import EASY, ImageSize, Vocabulary, sample_glyphs
from omnigen2.training.parts import StepLoader, Stream

Asked: TypeAlias = Literal["text_to_image", "edit", "in_context", "letters"]


class MicroPrompts(MicroWorld):
    """Prompts of the micro-world, each with the task that a verifier needs; and the held-out examples of `MicroWorld`.

    Args:
        asked: Share of each family among the prompts; `letters` asks for text. Only ratios count.
        prompts: How many different prompts there are, at least 1.
        families: What validation and evaluation look at, whatever is asked; all three families by default.

    Raises:
        ValueError: If a number is out of range, or a family is unknown or has a share below 0.
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
        evaluated = dict.fromkeys(FAMILIES, 1.0) if families is None else families
        super().__init__(size, steps, 1, evaluated, vocabulary, multiple, None, validation, seed)
        shares: Mapping[Asked, float] = {"text_to_image": 1.0} if asked is None else asked
        for name in shares:
            check_choice("a family that MicroPrompts asks for", name, Asked)
        if prompts < 1 or min(shares.values(), default=0) < 0 or not any(shares.values()):
            raise ValueError(
                "MicroPrompts needs prompts >= 1 and shares of at least 0, one of them positive, got "
                f"{prompts} and {dict(shares)}"
            )
        self.asked: dict[Asked, float] = dict(shares)
        self.prompts = prompts

    @property
    @override
    def trained(self) -> tuple[str, ...]:
        return tuple(name for name, share in self.asked.items() if share > 0)

    @override
    def train_dataloader(self) -> StepLoader[Any]:
        """Numbers of iterations: prompts are drawn by what counts the finished ones."""
        return StepLoader(lambda step: step, self.steps)

    def prompt(self, number: int) -> Example:
        """The prompt of a number, with its task."""
        rng = Stream.PROMPTS.numpy(self.seed, number)
        (family,) = drawn_by_share(self.asked, rng, 1)
        key = f"prompt:{number}"
        if family == "letters":
            return self.example(sample_glyphs(rng), key)
        kinds = kinds_of(family, self.vocabulary)
        return self.example(sample_task(family, kinds[int(rng.integers(len(kinds)))], self.vocabulary, rng), key)
