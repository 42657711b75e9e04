"""Leaving out conditions now and then, so that the model can be guided."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias, assert_never

from omnigen2.data.batches.planner import uniform
from omnigen2.data.batches.stream import Pick
from omnigen2.data.samples import DataError

ReferencesDrop: TypeAlias = Literal["with_prompt", "independently"]


class Dropped(NamedTuple):
    """What a sample loses this time: its instruction, all its references."""

    prompt: bool
    references: bool


@dataclass(frozen=True)
class ConditionDropout:
    """Drops the prompt, and the references, of samples that have a target.

    A function of seed, source, epoch and sample: not of the rank, worker or step that happens to load it. Samples
    without a target keep everything: there is nothing to draw.

    Attributes:
        prompt: Probability of dropping the prompt, in [0, 1].
        references: Probability of dropping the references, in [0, 1].
        references_drop: `"with_prompt"`: only where the prompt is dropped too, as in the released training code, so
            that references alone are left in `prompt * (1 - references)` of the samples; `"independently"`: anywhere.
        seed: At least 0.

    Raises:
        DataError: If a number is out of range.

    Source: the released training configuration (prompt 1e-4, references 0.5).
    """

    prompt: float = 1e-4
    references: float = 0.5
    references_drop: ReferencesDrop = "with_prompt"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("prompt", self.prompt), ("references", self.references)):
            if not 0 <= value <= 1:
                raise DataError(f"the dropout probability of the {name} must be in [0, 1], got {value}")
        if self.seed < 0:
            raise DataError(f"seed must be at least 0, got {self.seed}")

    def __call__(self, pick: Pick) -> Dropped:
        """What a sample loses; always the same for the same pick."""
        prompt = uniform(self.seed, "prompt", *pick) < self.prompt
        references = uniform(self.seed, "references", *pick) < self.references
        match self.references_drop:
            case "with_prompt":
                return Dropped(prompt, prompt and references)
            case "independently":
                return Dropped(prompt, references)
            case _:
                assert_never(self.references_drop)
