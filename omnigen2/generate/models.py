"""The models of a folder at work: requests to pictures."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from omnigen2.adapters import ScaledAdapter, load_lora
from omnigen2.dit import DiffusionTransformer
from omnigen2.dit.cache import Clock, Count, Pairs, Run, Watching
from omnigen2.encoders import LatentCodec, QwenEncoder
from omnigen2.files import MappedFiles
from omnigen2.flow import SquareRootShift, TimeShift
from omnigen2.generate.branches import EncodedSample, Latent
from omnigen2.generate.calibration import Calibration
from omnigen2.generate.denoise import Progress, denoise
from omnigen2.generate.encode import Encoders, Texts, awake
from omnigen2.generate.errors import GenerateError, check_kind
from omnigen2.generate.folder import LATENT_SIDE, shift_text
from omnigen2.generate.memory import Offload, Resting
from omnigen2.generate.notices import NoEffectWarning, notices
from omnigen2.generate.picture import Picture, number_format
from omnigen2.generate.plan import Plan, Planner
from omnigen2.generate.request import Request, Sampling
from omnigen2.quantize import quantization_of


class Models:
    """What `Generator` is without its words: a transformer, a vision-language model and an autoencoder that draw.

    Args:
        transformer: Makes latents.
        vlm: Reads prompts, and answers.
        vae: Pixels to latents and back.
        shift: The time shift of the sampler; the official square root shift by default.
        offload: What rests in the host's memory, where it is given, while others work: with `"idle"` the VLM and the
            autoencoder, for the price of a copy per call; with `"stages"` whatever model does not work; with `"blocks"`
            also the blocks that do not, of the transformer and of the VLM. `"none"` leaves all where they are. It
            changes no picture.
        name: Of the model, for the parameters of its pictures.
        files: That the models work out of; looked at before each call.
        sampling: What pictures are drawn with where a call says nothing; the official one by default.
        device: Where the models work; by default where the transformer is.
        dtype: What models that rest work in; what they are in if None.

    Attributes:
        calibration: What the cache `"teacache"` goes by; the plain change if None, as it is until somebody sets it.
        count: How much of all drawings so far was computed, and how much would be without any reuse.
        adapters: Names of those that were loaded.

    Raises:
        GenerateError: If the three models do not fit together.
    """

    def __init__(
        self,
        transformer: DiffusionTransformer,
        vlm: QwenEncoder,
        vae: LatentCodec,
        shift: TimeShift | None = None,
        offload: Offload = "none",
        name: str = "",
        files: Sequence[MappedFiles] = (),
        sampling: Sampling | None = None,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_kind(
            "transformer",
            getattr(transformer, "_orig_mod", transformer),
            DiffusionTransformer,
            "a DiffusionTransformer",
        )
        check_kind("vlm", vlm, QwenEncoder, "a QwenEncoder")
        check_kind("vae", vae, LatentCodec, "a LatentCodec")
        config = transformer.config
        pairs = (("text states", vlm.dim, config.text_dim), ("latents", vae.channels, config.in_channels))
        for what, made, read in pairs:
            if made != read:
                raise GenerateError(
                    f"the {what} have {made} channels, but the transformer reads {read}", "use parts of one model"
                )
        self.transformer = transformer.eval()
        device = transformer.target_embedder.weight.device if device is None else device
        rests = offload in ("stages", "blocks")
        once = tuple(self.transformer.text_refiner) if device.type == "cpu" else ()  # two desks hold as much elsewhere
        self._resting = Resting(self.transformer, device, dtype, offload == "blocks", once) if rests else None
        self.encoders = Encoders(vlm, vae, device, offload, dtype)
        self.plan = Planner(vae.reduction * config.patch_size, config.max_references)
        self.shift = SquareRootShift(LATENT_SIDE / config.patch_size) if shift is None else shift
        self.name = name
        self.files = files
        self.sampling = Sampling() if sampling is None else sampling
        self.calibration: Calibration | None = None
        self.count = Count()
        self.adapters: tuple[str, ...] = ()
        self.dtype = number_format(transformer.target_embedder.weight.dtype, quantization_of(transformer))

    def many(
        self,
        requests: Sequence[Request],
        sampling: Sampling | None = None,
        progress: Progress | None = None,
        *,
        texts: Sequence[Texts] | None = None,
    ) -> tuple[Picture, ...]:
        """Draw different requests (prompts, sizes, numbers of references) in one packed batch, one picture for each.

        Args:
            requests: At least one.
            sampling: How; as the model says if None.
            progress: Told after each step.
            texts: What `read` made of these requests; they are read now if None.

        Raises:
            GenerateError: If there is no request, one cannot be used, or the model's files were written over.
        """
        plans = self._plans(requests)
        if texts is None:
            texts = self._read(plans)
        elif len(texts) != len(plans):
            raise GenerateError(f"got texts of {len(texts)} requests, expected {len(plans)}", "give those of `read`")
        return self._draw(plans, texts, self.sampling if sampling is None else sampling, progress)

    def read(self, requests: Sequence[Request]) -> tuple[Texts, ...]:
        """What the vision-language model makes of the prompts of requests, for `many` to draw later.

        Where it rests between calls it is woken once for all of them. References are looked at if the rules of prompts
        say so, and then opened one request after another.
        """
        with self.encoders.reading():
            return tuple(text for request in requests for text in self._read(self._plans([request])))

    @torch.no_grad()
    def watch(
        self, requests: Sequence[Request], sampling: Sampling | None = None, progress: Progress | None = None
    ) -> Pairs:
        """How drawings of requests change from step to step if nothing is reused, see `omnigen2.dit.cache.Watching`."""
        plans = self._plans(requests)
        pairs: Pairs = []
        start = partial(Watching, pairs=pairs)
        self._latents(plans, self._read(plans), self.sampling if sampling is None else sampling, progress, start)
        return pairs

    def load_lora(self, path: str | Path, scale: float = 1.0) -> None:
        """Add a LoRA adapter to the transformer, see `omnigen2.adapters.load_lora`; pictures name it from now on.

        Args:
            path: Its folder or file.
            scale: How strongly it acts; 1 as trained, any finite number.
        """
        load_lora(self.transformer, path, f"adapter_{len(self.adapters)}", scale)
        self.adapters = (*self.adapters, ScaledAdapter(Path(path), scale).name)

    def _plans(self, requests: Sequence[Request]) -> list[Plan]:
        self._check_files()
        check_kind("requests", requests, (list, tuple), "a list of Request")
        if not requests:
            raise GenerateError("got no requests", "give at least one")
        for request in requests:
            check_kind("a request", request, Request, "a Request")
        return [self.plan(request) for request in requests]

    def _read(self, plans: Sequence[Plan]) -> list[Texts]:
        return self.encoders.texts(self.encoders.prompts(plans), [plan.request.negative_prompt for plan in plans])

    def _check_files(self) -> None:
        for files in self.files:
            files.check()

    @torch.no_grad()
    def _draw(
        self, plans: Sequence[Plan], texts: Sequence[Texts], sampling: Sampling, progress: Progress | None
    ) -> tuple[Picture, ...]:
        check_kind("the sampling", sampling, Sampling, "a Sampling")
        for sentence in notices([plan.request for plan in plans], sampling, self.encoders.vlm.tokenizer):
            warnings.warn(sentence, NoEffectWarning, stacklevel=5)
        fit = None
        if self.calibration is not None:
            self.calibration.check(sampling)
            fit = self.calibration.fit
        cache = sampling.make_cache(fit)
        latents = self._latents(plans, texts, sampling, progress, None if cache is None else cache.start)
        images = self.encoders.decode(latents)
        self._check_files()
        shift = shift_text(sampling.shift(self.shift), self.transformer.config.patch_size)
        polynomial = () if fit is None else fit.coefficients
        return tuple(
            Picture(image, plan.request, sampling, self.name, self.adapters, shift, None, self.dtype, polynomial)
            for image, plan in zip(images, plans, strict=True)
        )

    def _latents(
        self,
        plans: Sequence[Plan],
        texts: Sequence[Texts],
        sampling: Sampling,
        progress: Progress | None,
        start: Callable[[Clock, Count | None], Run] | None,
    ) -> list[Latent]:
        references = self.encoders.encode([plan.references for plan in plans])
        vae = self.encoders.vae
        noise = [plan.noise(vae.channels, vae.reduction) for plan in plans]
        parts = zip(texts, references, noise, strict=True)
        samples = [EncodedSample(text.prompt, text.negative, shown, own) for text, shown, own in parts]
        with awake(self._resting):
            return denoise(self.transformer, samples, sampling, self.shift, progress, self.count, start)
