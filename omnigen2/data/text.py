"""How many tokens a text has, as far as a batch must know before it is made."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from omnigen2.data.errors import DataError
from omnigen2.data.sample import Sample


class TextLength(ABC):
    """Says how many text tokens of a sample reach the transformer, at most.

    The budget of a batch is kept only if no sample has more. Give an exact count where you can: it fills the batches
    better. Whatever is counted must hold for the dropped prompt too.
    """

    @abstractmethod
    def count(self, sample: Sample) -> int:
        """At most this many text tokens, template included.

        Args:
            sample: Any sample.

        Returns:
            At least 0.
        """


@dataclass(frozen=True)
class ByteLength(TextLength):
    """The number of UTF-8 bytes: a byte-level tokenizer (Qwen's, GPT's) never makes more tokens than that.

    English has about four bytes a token, so this leaves batches emptier than an exact count.

    Attributes:
        template: Tokens that the chat template adds, at least 0.
        limit: Most tokens there can be, when the encoder cuts longer texts off; no limit if None.

    Raises:
        DataError: If a number is out of range.

    Example:
        >>> ByteLength(template=10).count(Sample("understanding", "2 + 2?", answer="4"))
        17
    """

    template: int = 64
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.template < 0:
            raise DataError(f"template must be at least 0 tokens, got {self.template}")
        if self.limit is not None and self.limit < 1:
            raise DataError(f"limit must be at least 1 token, got {self.limit}; use None for no limit")

    def count(self, sample: Sample) -> int:
        """The bytes of instruction and answer, and the template, up to the limit."""
        words = self.template + len(sample.instruction.encode()) + len((sample.answer or "").encode())
        return words if self.limit is None else min(words, self.limit)
