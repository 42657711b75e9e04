"""How many tokens a text has, as far as a batch must know before it is made."""

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any
from unicodedata import normalize

from typing_extensions import override

from omnigen2.data.samples.errors import DataError
from omnigen2.data.samples.sample import Sample
from omnigen2.files import check_most

MOST_TOKENS = 2**30
"""Of a text."""


class TextLength(ABC):
    """Says how many text tokens of a sample reach the transformer, at most.

    The budget of a batch is kept only if no sample has more. Give an exact count where you can: it fills the batches
    better. Whatever is counted must hold for the dropped prompt too.

    Args:
        template: Tokens that the chat template adds to a conversation, at least 0.
        per_reference: Tokens that it adds for each reference that the vision-language model sees, the tokens of the
            picture itself not counted, at least 0.
        limit: Most tokens there can be, template included, when the encoder cuts longer texts off; no limit if None.

    Raises:
        DataError: If a number is out of range.
    """

    def __init__(self, template: int, per_reference: int, limit: int | None) -> None:
        for name, value in (("template", template), ("per_reference", per_reference)):
            if value < 0:
                raise DataError(f"{name} must be at least 0 tokens, got {value}")
            check_most(name, value, MOST_TOKENS, DataError)
        check_most("limit", limit, MOST_TOKENS, DataError)
        if limit is not None and limit < 1:
            raise DataError(f"limit must be at least 1 token, got {limit}; use None for no limit")
        self.template = template
        self.per_reference = per_reference
        self.limit = limit

    @abstractmethod
    def words(self, text: str) -> int:
        """At most this many tokens of a text alone, at least 0."""

    def count(self, sample: Sample) -> int:
        """At most this many text tokens of a sample: of instruction, answer and template, up to the limit."""
        words = self.words(sample.instruction) + self.words(sample.answer or "")
        total = words + self.template + self.per_reference * len(sample.references)
        return total if self.limit is None else min(total, self.limit)


class ByteLength(TextLength):
    """The number of UTF-8 bytes: a byte-level tokenizer (Qwen's, GPT's) never makes more tokens than that.

    Needs no files, but English has about four bytes a token, so batches stay emptier than with `TokenizerLength`.

    Args:
        template: As in `TextLength`; the default holds for this library's template, byte by byte.
        per_reference: Likewise.
        limit: As in `TextLength`.

    Example:
        >>> ByteLength(template=10).count(Sample("understanding", "2 + 2?", answer="4"))
        17
    """

    def __init__(self, template: int = 128, per_reference: int = 12, limit: int | None = None) -> None:
        super().__init__(template, per_reference, limit)

    def words(self, text: str) -> int:
        """Bytes after Unicode composition, which tokenizers apply too and which can add some."""
        return len(normalize("NFC", text).encode())


class TokenizerLength(TextLength):
    """The number of tokens that a tokenizer makes; words that look like special tokens count as plain letters.

    Args:
        folder: Has `tokenizer.json`, as the `processor` folder of the released model.
        template: As in `TextLength`. The default leaves room for this library's template in Qwen's tokens; the tiny
            tokenizer of `omnigen2 make-tiny` needs 128, because its tokens are bytes.
        per_reference: Likewise.
        limit: As in `TextLength`. The released training cuts at 888.

    Raises:
        DataError: If there is no such file, or a number is out of range.
    """

    def __init__(
        self, folder: str | Path, template: int = 48, per_reference: int = 12, limit: int | None = None
    ) -> None:
        super().__init__(template, per_reference, limit)
        self.file = Path(folder) / "tokenizer.json"
        if not self.file.is_file():
            raise DataError(f"{folder} has no tokenizer.json; name the folder of a tokenizer, such as MODEL/processor")

    @override
    def words(self, text: str) -> int:
        # set each time: copies of a tokenizer, also those in worker processes, forget it
        self._tokenizer.encode_special_tokens = True
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.file))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer
