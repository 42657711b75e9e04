"""Cosine similarities of features: Emu-Edit's CLIP-I, CLIP-out and DINO."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from omnigen2.evaluation.metrics.errors import EvaluationError
from omnigen2.files import (
    CROPS,
    check_config,
    check_image_settings,
    check_tokenizer,
    image_settings,
    library_errors,
    load_pretrained,
)
from omnigen2.pictures import to_image
from omnigen2.rl import Picture

Features: TypeAlias = Float[Tensor, "samples features"]
DINO_MODELS = {
    "vit": "ViTModel",
    "dinov2": "Dinov2Model",
    "dinov2_with_registers": "Dinov2WithRegistersModel",
    "dinov3_vit": "DINOv3ViTModel",
}
"""Classes of transformers whose first token, after the last norm, stands for the picture; by their `model_type`."""


def cosines(name: str, first: Features, second: Features) -> Float[Tensor, " samples"]:
    """Cosine similarities of pairs of feature vectors, of any length but zero.

    Returns:
        float64, in [-1, 1].

    Raises:
        ValueError: If shapes differ, or a vector is zero or not finite: it has no direction.
    """
    if first.shape != second.shape:
        raise ValueError(f"{name} got features of shapes {tuple(first.shape)} and {tuple(second.shape)}")
    wide = [side.detach().double() for side in (first, second)]
    norms = torch.stack([side.norm(dim=-1) for side in wide])
    usable = norms.isfinite() & (norms > 0)
    if not usable.all():
        side, sample = (~usable).nonzero()[0].tolist()
        raise ValueError(
            f"{name}: vector {sample} of side {side + 1} has the length {norms[side, sample].item()}; "
            "a picture that cannot be read has no features"
        )
    return ((wide[0] * wide[1]).sum(-1) / norms.prod(0)).clamp(-1, 1)


class Clip(nn.Module):
    """CLIP's projected features of pictures and texts; the folder is in the transformers layout, with its processor."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import AutoTokenizer, CLIPModel

        _check(folder)
        check_config(folder, EvaluationError)
        check_tokenizer(folder, EvaluationError)
        self.processor = _processor(folder, ("CLIPImageProcessor",))
        with library_errors(folder, EvaluationError):
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        self.model: Any = load_pretrained(CLIPModel, folder, pickled=True, error=EvaluationError, dtype=torch.float32)
        words = self.model.config.text_config.vocab_size
        if len(self.tokenizer) > words:
            raise EvaluationError(
                f"the tokenizer in {folder} knows {len(self.tokenizer)} tokens, the model {words}",
                "take both from one model",
            )

    @torch.inference_mode()
    def images(self, pictures: Sequence[Picture]) -> Features:
        """Features of pictures, one vector each."""
        pixels = _pixels(self.processor, pictures, self.model.device)
        return self.model.get_image_features(pixel_values=pixels).pooler_output

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Features:
        """Features of texts. Those that are longer than the model's window are cut, as CLIP was trained."""
        length = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt")
        return self.model.get_text_features(**tokens.to(self.model.device)).pooler_output


class DinoImages(nn.Module):
    """The CLS token of DINO or DINOv2 after the last norm; the folder is in the transformers layout.

    For DINOv2 that is the pooled output. DINO (ViT-S/16) was trained without the pooler that transformers has for it:
    a published file that holds one holds numbers that nobody trained.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        import transformers

        _check(folder)
        name = DINO_MODELS[check_config(folder, EvaluationError).choice("model_type", *DINO_MODELS)]
        self.processor = _processor(folder, ("ViTImageProcessor", "BitImageProcessor"))
        pooler: dict[str, Any] = {"add_pooling_layer": False} if name == "ViTModel" else {}
        self.model: Any = load_pretrained(
            getattr(transformers, name),
            folder,
            passed_over=("pooler.",) if pooler else (),
            pickled=True,
            error=EvaluationError,
            dtype=torch.float32,
            **pooler,
        )

    @torch.inference_mode()
    @override
    def forward(self, pictures: Sequence[Picture]) -> Features:
        return self.model(pixel_values=_pixels(self.processor, pictures, self.model.device)).last_hidden_state[:, 0]


def _check(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise EvaluationError(
            f"{folder} holds no model (there is no config.json)", "download it first; name its folder"
        )


def _processor(folder: Path, kinds: tuple[str, ...]) -> Any:
    """The model's own image processor, all of whose settings it follows.

    Raises:
        EvaluationError: If there is none, or it would leave out what it is told.
    """
    from transformers import AutoImageProcessor

    settings = image_settings(folder, EvaluationError)
    if settings is None:
        raise EvaluationError(f"{folder} has no preprocessor_config.json", "is the download complete?")
    check_image_settings(settings, kinds, followed=CROPS)
    with library_errors(folder, EvaluationError):
        return AutoImageProcessor.from_pretrained(folder, local_files_only=True)


def _pixels(processor: Callable[..., dict[str, Tensor]], pictures: Sequence[Picture], device: torch.device) -> Tensor:
    """What the model's own processor makes of pictures."""
    return processor(images=[to_image(one) for one in pictures], return_tensors="pt")["pixel_values"].to(device)
