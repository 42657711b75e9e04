"""The vision-language model and the autoencoder at work, on the device only as long as they have something to do."""

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from PIL import Image

from omnigen2.encoders import Answer, LatentCodec, Message, PromptBatch, QwenEncoder
from omnigen2.errors import user_errors
from omnigen2.generate.branches import Latent, TextStates
from omnigen2.generate.memory import Offload, Resting
from omnigen2.generate.plan import Plan
from omnigen2.pictures import to_image, to_pixels


class Texts(NamedTuple):
    """What the vision-language model makes of a picture's words.

    Attributes:
        prompt: States of the prompt, shape (tokens, text_dim).
        negative: States of the negative prompt, shape (tokens, text_dim).
    """

    prompt: TextStates
    negative: TextStates


class Encoders:
    """Words and pictures to states and latents, and latents to pictures.

    Args:
        vlm: Reads prompts, and answers.
        vae: Pixels to latents and back.
        device: Where they work.
        offload: `"none"` leaves them where they are. Otherwise they are in the host's memory, and rest there while they
            have nothing to do, for the price of a copy per call; with `"blocks"` the language model's layers do so one
            by one.
        dtype: What they work in; what they are in if None.
    """

    def __init__(
        self,
        vlm: QwenEncoder,
        vae: LatentCodec,
        device: torch.device,
        offload: Offload,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.vlm = vlm
        self.vae = vae
        self.device = device
        rest = offload != "none"
        self._resting_vlm = Resting(vlm, device, dtype, offload == "blocks") if rest else None
        self._resting_vae = Resting(vae, device, dtype) if rest else None

    def prompt(self, text: str, references: Sequence[Image.Image] = ()) -> PromptBatch:
        """Tokens of one drawing prompt, as a batch of one; too long a one is a `UserError`.

        Args:
            text: The prompt.
            references: Looked at only if the tokenizer's rules say so.
        """
        with user_errors():
            return self.vlm.tokenizer.drawings([text], [list(references)])

    def prompts(self, plans: Sequence[Plan]) -> list[PromptBatch]:
        """Tokens of all prompts, as batches of one; pictures that differ in size and seed alone share theirs."""
        made: dict[tuple[object, ...], PromptBatch] = {}
        keys = [(plan.request.prompt, *map(id, plan.request.images)) for plan in plans]
        for key, plan in zip(keys, plans, strict=True):
            if key not in made:
                made[key] = self.prompt(plan.request.prompt, plan.references)
        return [made[key] for key in keys]

    def texts(self, prompts: Sequence[PromptBatch], negatives: Sequence[str]) -> list[Texts]:
        """States of prompts (batches of one), each with that of a negative prompt.

        Each prompt is read alone, so that it cannot depend on the batch, and no prompt twice: equal ones have the very
        same states, which `PackedBranches` shares.
        """
        with self.reading(), torch.no_grad():
            distinct = {id(prompt): prompt for prompt in prompts}
            states = {key: self.vlm(prompt).states for key, prompt in distinct.items()}
            once = {text: self.vlm(self.prompt(text)).states for text in dict.fromkeys(negatives)}
        return [Texts(states[id(prompt)], once[text]) for prompt, text in zip(prompts, negatives, strict=True)]

    def reading(self) -> AbstractContextManager[None]:
        """Keep the language model awake over several calls."""
        return awake(self._resting_vlm)

    def encode(self, references: Sequence[Sequence[Image.Image]]) -> list[tuple[Latent, ...]]:
        """Latents of the references of each sample; equal pictures have the very same latents.

        They are means of the encoder's distribution: the official pipeline draws from it, which would make a picture
        depend on the draws before it.
        """
        keys = [[_digest(image) for image in own] for own in references]
        distinct = {
            key: image
            for own, shown in zip(keys, references, strict=True)
            for key, image in zip(own, shown, strict=True)
        }
        if not distinct:
            return [()] * len(references)
        with awake(self._resting_vae):
            encoded = self.vae.encode([to_pixels(image) for image in distinct.values()], posterior="mode")
        latents = dict(zip(distinct, encoded, strict=True))
        return [tuple(latents[key].to(self.device) for key in own) for own in keys]

    def decode(self, latents: Sequence[Latent]) -> list[Image.Image]:
        """RGB pictures of scaled latents."""
        with awake(self._resting_vae), user_errors():
            return [to_image(pixels) for pixels in self.vae.decode(latents)]

    def answer(self, conversation: tuple[Message, ...], max_new_tokens: int, temperature: float) -> Answer:
        """The assistant's next turn.

        Args:
            conversation: What was said.
            max_new_tokens: Longest answer, at least 1.
            temperature: 0 takes the likeliest token each time.
        """
        with awake(self._resting_vlm), user_errors():
            return self.vlm.answer([conversation], max_new_tokens, temperature)[0]


def awake(resting: Resting | None) -> AbstractContextManager[None]:
    """Let a model work, if it rests."""
    return nullcontext() if resting is None else resting.awake()


def _digest(image: Image.Image) -> tuple[tuple[int, int], str]:
    return image.size, hashlib.sha256(image.tobytes()).hexdigest()
