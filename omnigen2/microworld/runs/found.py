"""Examples that were found rather than drawn, such as those of a curation, to train on in the place of drawn ones."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from omnigen2.data import Collate, ConditionDropout, DataError, Example, JsonlSource, Pick, TokenBudget
from omnigen2.microworld.tasks import Family


class FoundExamples:
    """Jsonl files of examples, one for a family, read when the first one is asked for.

    Args:
        files: By family, in the official layout.
        size: Side that all their pictures must have, in pixels.
        dropout: Which conditions are left out; none if None.
    """

    def __init__(self, files: Mapping[Family, str], size: int, dropout: ConditionDropout | None = None) -> None:
        self.files = dict(files)
        self.size = size
        self.collate = Collate(dropout)

    @cached_property
    def sources(self) -> dict[str, JsonlSource]:
        """By family.

        Raises:
            DataError: If a file is missing or wrong, or has an example of another family or with pictures of another
                size.
        """
        sources: dict[str, JsonlSource] = {}
        for family, file in self.files.items():
            if not Path(file).is_file():
                raise DataError(f"there is no {file}, the examples of {family}", "make it, or name another")
            source = sources[family] = JsonlSource(file)
            for number in range(len(source)):
                _, references, target = source.sizes(number)
                others = [size for size in (*references, target) if size != (self.size, self.size)]
                if others or source.task(number) != family:
                    raise DataError(
                        f"{source[number].key} is of {source.task(number)}, with pictures of (height, width) "
                        f"{others or (self.size, self.size)}; expected {family} of {self.size} x {self.size} pixels",
                        "leave it out of the file, or set size of MicroWorld",
                    )
        return sources

    def draw(self, family: Family, step: int, rng: np.random.Generator, budget: TokenBudget) -> Example:
        """One example by lot."""
        pick = Pick(family, step, int(rng.integers(len(self.sources[family]))))
        return self.collate([pick], self.sources, budget).examples[0]
