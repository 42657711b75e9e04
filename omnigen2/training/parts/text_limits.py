"""How long texts of a training may be, as its rules and its tokenizer say."""

from PIL import Image

from omnigen2.data import ByteLength, TextLimit
from omnigen2.encoders import Conversation, Message, PromptRules, drawing
from omnigen2.training.parts.vlm import VLMSource

PLACEHOLDER = Image.new("RGB", (1, 1))
"""Stands for a picture whose tokens are not counted."""


def limit_of_drawings(source: VLMSource, rules: PromptRules) -> TextLimit | None:
    """Of instructions; None if longer ones are cut, or the tokenizer is not at hand."""
    if rules.max_tokens is None or rules.overflow == "cut" or (tokens := source.tokenizer(rules)) is None:
        return None

    def count(instruction: str, answer: str, references: int) -> int:
        del answer  # a drawing is not told
        return tokens.count(drawing(instruction, [PLACEHOLDER] * references if rules.sees != "text" else ()))

    remedy = "shorten it, or set overflow: cut or a larger max_tokens in model.init_args.text.rules"
    return TextLimit(rules.max_tokens, count, remedy)


def limit_of_exchanges(source: VLMSource, system: str) -> TextLimit | None:
    """Of questions with their answers, which are never cut; None if the tokenizer is not at hand.

    Args:
        system: The prompt that stands before each of them.
    """
    rules = PromptRules()
    if rules.max_tokens is None or (tokens := source.tokenizer(rules)) is None:
        return None

    def count(instruction: str, answer: str, references: int) -> int:
        asked: Conversation = (
            Message("system", system),
            Message("user", instruction, (PLACEHOLDER,) * references),
        )
        return tokens.count(asked, answer)

    bound = ByteLength(template=128 + ByteLength().words(system))
    return TextLimit(rules.max_tokens, count, "shorten it", reads_stored=True, bound=bound)
