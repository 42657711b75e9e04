"""From prompts and pictures to pictures, or to words."""

import secrets
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import torch

from omnigen2.dit import AttentionBackend
from omnigen2.encoders import SYSTEM_PROMPT, Message, PromptRules, VAEMemory
from omnigen2.files import check_most
from omnigen2.generate.calibration import read_calibration
from omnigen2.generate.denoise import Progress
from omnigen2.generate.errors import GenerateError, check_kind
from omnigen2.generate.folder import ModelFolder
from omnigen2.generate.memory import Offload, Placement, default_dtype
from omnigen2.generate.models import Models
from omnigen2.generate.picture import Reply, Result
from omnigen2.generate.request import MOST_IMAGES, ImageInput, Request, SamplingOptions
from omnigen2.quantize import Quantization


class Generator(Models):
    """Draws, edits, combines and answers with one set of models, see `Models`.

    Source: arXiv:2506.18871.

    Example:
        >>> import tempfile
        >>> from omnigen2.generate.tiny import make_tiny
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     generator = Generator.from_folder(make_tiny(folder))
        >>> generator("a red cube", height=32, width=48, steps=2, seed=0).images[0].size
        (48, 32)
    """

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
        offload: Offload = "none",
        vae_memory: VAEMemory = "one_by_one",
        rules: PromptRules | None = None,
        backend: AttentionBackend = "auto",
        quantize: Quantization = "none",
    ) -> "Generator":
        """Load a model folder in the released layout. Never reaches the network.

        Args:
            path: Has `transformer/`, `vae/`, `mllm/`, `processor/` and `scheduler/`.
            dtype: bfloat16 or float32; by default see `default_dtype`, with a warning where float32 does not fit.
            device: Where the models work.
            offload: See the class.
            vae_memory: `"tiled"` encodes and decodes large pictures in tiles, see `FluxVAE`.
            rules: How prompts become tokens, and whether the vision-language model sees the references.
            backend: Attention kernel, see `omnigen2.dit.attend`.
            quantize: The matrices of the blocks of transformer and language model in 8 or 4 bits, see
                `omnigen2.quantize`: less memory, and other pictures, which tell it.
        """
        folder, where = ModelFolder(Path(path)), torch.device(device)
        calibration = read_calibration(folder.path)
        if dtype is None:
            dtype, reason = default_dtype(folder, where, offload, vae_memory, quantize=quantize)
            if reason:
                warnings.warn(reason, stacklevel=2)
        placement = Placement(folder, where, dtype, offload, quantize)
        transformer, vlm, vae = placement.load(vae_memory, rules, backend)
        generator = cls(
            transformer,
            vlm,
            vae,
            folder.shift(transformer.config.patch_size),
            offload,
            folder.path.resolve().name,
            placement.files(GenerateError),
            folder.sampling(),
            where,
            dtype,
        )
        generator.calibration = calibration
        return generator

    def __call__(
        self,
        prompt: str,
        *,
        images: Sequence[ImageInput] = (),
        height: int | None = None,
        width: int | None = None,
        negative_prompt: str = "",
        seed: int | None = None,
        num_images: int = 1,
        progress: Progress | None = None,
        **sampling: Unpack[SamplingOptions],
    ) -> Result:
        """Draw one prompt, once or several times, in one packed batch.

        Args:
            prompt: See `Request`, as `height`, `width` and `negative_prompt`.
            images: References: none for text-to-image, one for an edit, several for in-context generation.
            seed: Of the first picture; the others have the seeds after it. Drawn if None, and told by the pictures.
            num_images: Number of pictures, at least 1.
            progress: Told after each step.
            **sampling: `steps`, `text_scale`, `image_scale`, `guidance_interval`, `solver`, `time_shift`, `cache` and
                what goes with it; see `Sampling`. What is left out is that of the model.

        Returns:
            The pictures, each with everything that made it.

        Raises:
            GenerateError: If a value cannot be used.
        """
        check_kind("images", images, (list, tuple), "several images; of one it is [image]")
        check_kind("num_images", num_images, int, "a whole number")
        check_most("num_images", num_images, MOST_IMAGES, GenerateError)
        if num_images < 1:
            raise GenerateError(f"num_images must be at least 1, got {num_images}", "ask for one picture or more")
        first = secrets.randbelow(2**31) if seed is None else seed
        request = Request(
            prompt=prompt,
            images=tuple(images),
            height=height,
            width=width,
            negative_prompt=negative_prompt,
            seed=first,
        )
        requests = [replace(request, seed=first + number) for number in range(num_images)]
        return Result(self.many(requests, replace(self.sampling, **sampling), progress))

    def chat(
        self,
        messages: Sequence[Message],
        *,
        height: int | None = None,
        width: int | None = None,
        seed: int | None = None,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        progress: Progress | None = None,
        **sampling: Unpack[SamplingOptions],
    ) -> Reply:
        """Answer a conversation in words; when the model says `<|img|>`, also draw.

        The drawing is conditioned on the whole conversation up to and including the answer. Its references are all
        images of the conversation in order, the numbers by which the model knows them.

        Args:
            messages: The conversation; the official system prompt is put in front if there is none.
            height: See `Request`, as `width` and `seed`.
            max_new_tokens: Longest answer in tokens.
            temperature: 0 takes the likeliest token each time.
            progress: Told after each step of a drawing.
            **sampling: See `Sampling`.

        Raises:
            GenerateError: If the last message is not the user's, there are too many images, or the model's files
                were written over.
        """
        self._check_files()
        check_kind("messages", messages, (list, tuple), 'a conversation: [Message("user", "hello")]')
        for message in messages:
            check_kind("a message of the conversation", message, Message, "a Message")
        if not messages or messages[-1].speaker != "user":
            said = f"the last of them is the {messages[-1].speaker}'s" if messages else "there is nothing to answer"
            raise GenerateError(f"got {len(messages)} messages, {said}", "end the conversation with a user message")
        settings = replace(self.sampling, **sampling)
        images = tuple(image for message in messages for image in message.images)
        request = Request(prompt=messages[-1].text, images=images, height=height, width=width, seed=seed)
        plan = self.plan(request)
        system = () if messages[0].speaker == "system" else (Message("system", SYSTEM_PROMPT),)
        shown = [replace(each, images=tuple(map(self.plan.reader.to_rgb, each.images))) for each in messages]
        conversation = (*system, *shown)
        answer = self.encoders.answer(conversation, max_new_tokens, temperature)
        if answer.stop != "image":
            return Reply(answer.text)
        prompt = self.encoders.vlm.tokenizer([conversation], answers=[answer.text])
        return Reply(answer.text, self._draw([plan], self.encoders.texts([prompt], [""]), settings, progress))
