"""Text states of a batch's instructions, read once where they come again, and not at all where they are stored."""

import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor

from omnigen2.data.batches import Example
from omnigen2.data.samples import NAMES, States, StatesOrigin, StoredTensor
from omnigen2.encoders import SYSTEM_PROMPT, SYSTEM_PROMPT_DROPPED, PackedText, QwenEncoder, drawing, render
from omnigen2.layout import Ragged, unpack
from omnigen2.pictures import to_image
from omnigen2.training.parts import vlm_identity


class TypicalTexts(ABC):
    """Knows what texts of a training look like."""

    @abstractmethod
    def texts(self) -> Sequence[str]:
        """Some texts, the same every time."""


class TextStates:
    """Reads instructions with a frozen vision-language model, by the bridge and the rules that it was built with.

    A dropped instruction is read as the released training code does: an empty text after another system prompt. States
    that examples bring are taken instead of reading.

    Args:
        encoder: The model.
        remembered: States of so many instructions are kept, those that were not used for longest are forgotten
            first; for worlds with few sentences. Each is then read alone: the last bits of states depend on what they
            are read with, and a run that goes on after a restart, remembering nothing, has to find the same. Nothing
            is remembered if the model sees the references.
        device: Where it works, and where states are; the model goes there when it first reads something, and not
            before, so that a training from stored states alone has the room for other things. Where the model is if
            None.

    Raises:
        ValueError: If `remembered` is below 0.
    """

    def __init__(self, encoder: QwenEncoder, remembered: int = 0, device: torch.device | None = None) -> None:
        if remembered < 0:
            raise ValueError(f"remembered must be at least 0, got {remembered}")
        self.device = encoder.device if device is None else device
        self._waiting = encoder
        self.rules = encoder.tokenizer.rules
        self.remembered = 0 if self.rules.sees == "text_and_images" else remembered
        self._known: OrderedDict[tuple[str, str], Tensor] = OrderedDict()

    @cached_property
    def encoder(self) -> QwenEncoder:
        """The model, on `device`."""
        return self._waiting.to(self.device)

    @cached_property
    def identity(self) -> str:
        """Of the model, see `vlm_identity`."""
        return vlm_identity(self._waiting)

    @cached_property
    def prompts(self) -> str:
        """How instructions become prompts and which of their tokens are kept, as one line."""
        talks = [drawing("", system=system) for system in (SYSTEM_PROMPT, SYSTEM_PROMPT_DROPPED)]
        template = "".join(piece.text for talk in talks for piece in render(talk))
        digest = hashlib.sha256(template.encode()).hexdigest()
        return f"{self.rules}, {self._waiting.bridge}, template sha256:{digest[:16]}"

    def origin(self) -> StatesOrigin:
        """What its states are stored with: the account of how they are made."""
        dropped = self._read([("", SYSTEM_PROMPT_DROPPED)], [()]).states
        return StatesOrigin(self.identity, self.prompts, StoredTensor.of(dropped, NAMES[dropped.dtype]))

    def of(self, examples: Sequence[Example]) -> PackedText:
        """States of a batch's instructions, of at least one, on `device`.

        Raises:
            Mismatch: If an example brings states of another model, or of other prompts.
        """
        unread = [example for example in examples if example.states is None]
        read = iter(self._states(unread) if unread else ())
        states: list[States] = []
        for example in examples:
            if example.states is None:
                states.append(next(read))
            else:
                example.states.origin.check(example.key, reader=self.identity, prompts=self.prompts)
                states.append(example.states.tensors[0].to(self.device))
        return PackedText(torch.cat(states), Ragged.of(len(own) for own in states))

    def of_texts(self, texts: Sequence[str]) -> PackedText:
        """States of instructions alone, of at least one, none of them dropped, on `device`."""
        return self._read([(text, SYSTEM_PROMPT) for text in texts], [()] * len(texts))

    def _states(self, examples: Sequence[Example]) -> Sequence[States]:
        """One by one, remembered or read."""
        systems = [SYSTEM_PROMPT_DROPPED if example.prompt_dropped else SYSTEM_PROMPT for example in examples]
        keys = [(example.instruction, system) for example, system in zip(examples, systems, strict=True)]
        if not self.remembered:
            return unpack(*self._read(keys, [self._seen(example) for example in examples]))
        for key in dict.fromkeys(keys):
            if key not in self._known:
                self._known[key] = self._read([key], [()]).states
        for key in keys:
            self._known.move_to_end(key)
        states = [self._known[key] for key in keys]
        while len(self._known) > self.remembered:
            self._known.popitem(last=False)
        return states

    @torch.no_grad()
    def _read(self, keys: Sequence[tuple[str, str]], seen: Sequence[Sequence[Image.Image]]) -> PackedText:
        talks = [drawing(text, images, system) for (text, system), images in zip(keys, seen, strict=True)]
        with torch.autocast(self.device.type, enabled=False):  # in the model's own dtype, as states that are stored
            return self.encoder(self.encoder.tokenizer(talks))

    def _seen(self, example: Example) -> Sequence[Image.Image]:
        return () if self.rules.sees == "text" else [to_image(pixels) for pixels in example.references]
