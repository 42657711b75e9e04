"""Vectors of pictures by DINO or DINOv2."""

from functools import cache
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from omnigen2.curation.models.folders import FolderModel
from omnigen2.curation.models.protocols import AnySizes, Embedder


class Dino(FolderModel, Embedder):
    """The CLS token after the last norm.

    Args:
        folder: Such as facebook/dinov2-base, in the transformers layout.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @override
    def __call__(self, pictures: AnySizes) -> Float[Tensor, "pictures features"]:
        return _loaded(self.folder, self.device)(pictures)


@cache
def _loaded(folder: str, device: str) -> Any:
    """That of one folder is there once, whichever steps use it."""
    from omnigen2.evaluation.metrics import DinoImages

    return DinoImages(Path(folder)).to(device).eval()
