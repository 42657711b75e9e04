"""Texts that are longer than a model's reader takes, found before the first step."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from omnigen2.data.samples import ByteLength, DataError, TextLength

CountTokens: TypeAlias = Callable[[str, str, int], int]
"""Tokens of an instruction, an answer and so many references, template included, those of pictures not counted."""


@dataclass(frozen=True)
class TextLimit:
    """How long texts may be. Only those that could be too long become tokens, which takes most of the time.

    Attributes:
        most: Tokens, template included.
        count: Counts them.
        remedy: What a message says can be done.
        reads_stored: Whether texts are read too whose states were computed before and lie beside them.
        bound: No text has more tokens than it says, which costs next to nothing.
    """

    most: int
    count: CountTokens
    remedy: str
    reads_stored: bool = False
    bound: TextLength = field(default_factory=ByteLength)

    def check(self, where: str, instruction: str, answer: str = "", references: int = 0) -> None:
        """Refuse texts that are too long.

        Args:
            where: What messages call them.

        Raises:
            DataError: If they are.
        """
        at_most = sum(map(self.bound.words, (instruction, answer))) + self.bound.template
        if at_most + self.bound.per_reference * references <= self.most:
            return
        if (tokens := self.count(instruction, answer, references)) > self.most:
            raise DataError(
                f"{where} has {tokens} text tokens (template included), at most {self.most} are allowed", self.remedy
            )
