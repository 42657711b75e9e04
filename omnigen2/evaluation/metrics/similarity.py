"""Cosine similarities of features: Emu-Edit's CLIP-I, CLIP-out and DINO."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import Metric

from omnigen2.evaluation.metrics.errors import EvaluationError
from omnigen2.rl import Picture

Features: TypeAlias = Float[Tensor, "samples features"]


class FeatureSimilarity(Metric):
    """Mean cosine similarity of pairs of feature vectors, as sums that add up exactly over processes.

    - CLIP-I: edited pictures and their sources (or references), both through `Clip.images`.
    - CLIP-out: edited pictures through `Clip.images` and captions of the wanted result through `Clip.texts`.
    - DINO: edited pictures and their sources, through `DinoImages`.

    Any other extractor will do: the metric takes features.

    Pairs whose picture could not be made or read are counted with `fail` and enter no mean.

    Args:
        name: For the text form, such as `"CLIP-I"`.

    Source: arXiv:2311.10089 (Emu Edit), section 5.
    """

    full_state_update: bool | None = False
    higher_is_better: bool | None = True
    is_differentiable: bool | None = False
    total_cosine: Float[Tensor, ""]
    valid: Float[Tensor, ""]
    failed: Float[Tensor, ""]

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        for state in ("total_cosine", "valid", "failed"):
            self.add_state(state, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, first: Features, second: Features) -> None:
        """Count pairs.

        Args:
            first: Feature vectors of the edited pictures, of any length but zero.
            second: Of what they are compared with, in the same order.

        Raises:
            ValueError: If shapes differ, or a vector is zero or not finite: it has no direction.
        """
        self.total_cosine += cosines(self.name, first, second).sum().to(self.total_cosine.device)
        self.valid += len(first)

    def fail(self, count: int = 1) -> None:
        """Count pairs that have no features.

        Args:
            count: How many, at least 0.

        Raises:
            ValueError: If the number is negative.
        """
        if count < 0:
            raise ValueError(f"{self.name} cannot count {count} failures; give 0 or more")
        self.failed += count

    def compute(self) -> Float[Tensor, ""]:
        """The mean cosine in [-1, 1]; not a number if there is no valid pair."""
        return self.total_cosine / self.valid

    def __str__(self) -> str:
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync and not self._is_synced):
            valid, failed = int(self.valid), int(self.failed)
            mean = f"{(self.total_cosine / self.valid).item():.3f}" if valid else "–"
        said = f" {failed} of {valid + failed} pairs failed; the mean is over the others." if failed else ""
        return f"{self.name}: {mean} (valid {valid} / {valid + failed}).{said}"


def cosines(name: str, first: Features, second: Features) -> Float[Tensor, " samples"]:
    """Cosine similarities of pairs.

    Args:
        name: What messages call the comparison.
        first: Feature vectors, of any length but zero.
        second: Of what they are compared with, in the same order.

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
            "count unreadable pictures with fail()"
        )
    return ((wide[0] * wide[1]).sum(-1) / norms.prod(0)).clamp(-1, 1)


class Clip(nn.Module):
    """CLIP's projected features of pictures and texts.

    Args:
        folder: A CLIP model in the transformers layout, with the files of its image processor and tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import AutoImageProcessor, AutoTokenizer, CLIPModel

        _check(folder)
        self.processor = AutoImageProcessor.from_pretrained(folder)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model: Any = CLIPModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def images(self, pictures: Sequence[Picture]) -> Features:
        """Features of pictures.

        Args:
            pictures: In [-1, 1].

        Returns:
            One vector each.
        """
        pixels = _pixels(self.processor, pictures, self.model.device)
        return self.model.get_image_features(pixel_values=pixels).pooler_output

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Features:
        """Features of texts. Those that are longer than the model's window are cut, as CLIP was trained.

        Args:
            texts: At least one.

        Returns:
            One vector each.
        """
        length = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=length, return_tensors="pt")
        return self.model.get_text_features(**tokens.to(self.model.device)).pooler_output


class DinoImages(nn.Module):
    """DINO or DINOv2: the pooled output.

    Args:
        folder: Such a model in the transformers layout, with its processor's files.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import AutoImageProcessor, AutoModel

        _check(folder)
        self.processor = AutoImageProcessor.from_pretrained(folder)
        self.model = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def forward(self, pictures: Sequence[Picture]) -> Features:
        """Extract features.

        Args:
            pictures: In [-1, 1].

        Returns:
            The pooled features.
        """
        return self.model(pixel_values=_pixels(self.processor, pictures, self.model.device)).pooler_output


def _check(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise EvaluationError(
            f"{folder} holds no model (there is no config.json)", "download it first; name its folder"
        )


def _pixels(processor: Callable[..., dict[str, Tensor]], pictures: Sequence[Picture], device: torch.device) -> Tensor:
    """What the model's own processor makes of pictures."""
    levels = [((one.detach().float().clamp(-1, 1) + 1) * 127.5).round().byte().cpu() for one in pictures]
    return processor(images=levels, return_tensors="pt")["pixel_values"].to(device)
