"""Text states of a batch's instructions, read once where they come again."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from omnigen2.data.collate import Example
from omnigen2.encoders import (
    SYSTEM_PROMPT,
    SYSTEM_PROMPT_DROPPED,
    HiddenStateBridge,
    PackedText,
    PromptRules,
    QwenEncoder,
    drawing,
    to_image,
)
from omnigen2.layout import Ragged


class TypicalTexts(ABC):
    """Knows what texts of a training look like."""

    @abstractmethod
    def texts(self) -> Sequence[str]:
        """Some texts, the same every time."""


class TextStates:
    """Reads instructions with a frozen vision-language model.

    A dropped instruction is read as the released training code does: an empty text after another system prompt.

    Args:
        encoder: The model.
        bridge: Which states are passed on.
        rules: How prompts become tokens, and whether the model sees the references.
        remembered: States of so many instructions are kept, those that were not used for longest are forgotten
            first; for worlds with few sentences. Nothing is remembered if the model sees the references.

    Raises:
        ValueError: If `remembered` is below 0.
    """

    def __init__(
        self, encoder: QwenEncoder, bridge: HiddenStateBridge, rules: PromptRules, remembered: int = 0
    ) -> None:
        if remembered < 0:
            raise ValueError(f"remembered must be at least 0, got {remembered}")
        self.encoder = encoder
        encoder.bridge = bridge
        encoder.tokenizer.rules = rules
        self.remembered = 0 if rules.sees == "text_and_images" else remembered
        self._known: OrderedDict[tuple[str, str], Tensor] = OrderedDict()

    def of(self, examples: Sequence[Example]) -> PackedText:
        """States of a batch's instructions.

        Args:
            examples: At least one.

        Returns:
            Packed, on the model's device.
        """
        systems = [SYSTEM_PROMPT_DROPPED if example.prompt_dropped else SYSTEM_PROMPT for example in examples]
        keys = [(example.instruction, system) for example, system in zip(examples, systems, strict=True)]
        if not self.remembered:
            seen = [self._seen(example) for example in examples]
            return self._read(keys, seen)
        unknown = [key for key in dict.fromkeys(keys) if key not in self._known]
        if unknown:
            packed = self._read(unknown, [()] * len(unknown))
            self._known |= zip(unknown, packed.states.split(list(packed.borders.lengths)), strict=True)
        for key in keys:
            self._known.move_to_end(key)
        states = [self._known[key] for key in keys]
        while len(self._known) > self.remembered:
            self._known.popitem(last=False)
        return PackedText(torch.cat(states), Ragged.of(len(own) for own in states))

    def of_texts(self, texts: Sequence[str]) -> PackedText:
        """States of instructions alone, none of them dropped.

        Args:
            texts: At least one.

        Returns:
            Packed, on the model's device.
        """
        return self._read([(text, SYSTEM_PROMPT) for text in texts], [()] * len(texts))

    @torch.no_grad()
    def _read(self, keys: Sequence[tuple[str, str]], seen: Sequence[Sequence[Image.Image]]) -> PackedText:
        talks = [drawing(text, images, system) for (text, system), images in zip(keys, seen, strict=True)]
        return self.encoder(self.encoder.tokenizer(talks))

    def _seen(self, example: Example) -> Sequence[Image.Image]:
        if self.encoder.tokenizer.rules.sees == "text":
            return ()
        return [to_image(pixels) for pixels in example.references]
