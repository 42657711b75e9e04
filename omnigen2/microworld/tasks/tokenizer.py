"""A word-level tokenizer over everything that the world can say: offline, without training."""

import re
from collections.abc import Iterable, Sequence

from omnigen2.microworld.world import all_words

PAD, UNKNOWN, END, IMAGE = "<pad>", "<unk>", "<end>", "<|img|>"
SPECIALS = (PAD, UNKNOWN, END, IMAGE)
"""Come first, in this order: the number of padding is 0."""


class WordTokenizer:
    """Words to numbers and back.

    Args:
        words: The known words, lower case, each once; by default all of the world's. Their order fixes the numbers.

    Raises:
        ValueError: If a word is given twice, is one of the special tokens, or would not be cut out as one word.

    Example:
        >>> tokenizer = WordTokenizer(("a", "circle", "red"))
        >>> tokenizer.encode("a red balloon")
        (4, 6, 1)
        >>> tokenizer.decode((4, 6, 1))
        'a red <unk>'
    """

    def __init__(self, words: Iterable[str] | None = None) -> None:
        self.words = (*SPECIALS, *(all_words() if words is None else words))
        self.ids = {word: number for number, word in enumerate(self.words)}
        if len(self.ids) < len(self.words):
            twice = sorted({word for word in self.words if self.words.count(word) > 1})
            raise ValueError(f"WordTokenizer needs each word once, and no special token; got again: {twice}")
        odd = [word for word in self.words[len(SPECIALS) :] if split(word) != [word]]
        if odd:
            raise ValueError(f"WordTokenizer takes single lower-case words, got {odd}; split them first")

    @classmethod
    def of_sentences(cls, sentences: Iterable[str]) -> "WordTokenizer":
        """A tokenizer that knows the words of these sentences, in alphabetical order."""
        return cls(sorted({word for sentence in sentences for word in split(sentence)} - set(SPECIALS)))

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str) -> tuple[int, ...]:
        """The numbers of a text's words.

        Args:
            text: Upper and lower case are the same; signs are words of their own.

        Returns:
            One number per word; that of `UNKNOWN` for each unknown one.
        """
        unknown = self.ids[UNKNOWN]
        return tuple(self.ids.get(word, unknown) for word in split(text))

    def decode(self, ids: Sequence[int]) -> str:
        """The words of numbers, with spaces between.

        Returns:
            For known words, the text that was encoded, in lower case and with single spaces.

        Raises:
            ValueError: If there is no word of a number.
        """
        wrong = [number for number in ids if not 0 <= number < len(self.words)]
        if wrong:
            raise ValueError(f"there are no words of numbers {wrong}; this tokenizer has 0 to {len(self.words) - 1}")
        return " ".join(self.words[number] for number in ids)


def split(text: str) -> list[str]:
    """Cut a text into lower-case words, signs and special tokens."""
    return re.findall(r"<pad>|<unk>|<end>|<\|img\|>|\w+|[^\w\s]", text.lower())
