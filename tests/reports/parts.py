"""What several reports are made with: a folder of every model that a library loads for us."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from omnigen2.dit import load_transformer
from omnigen2.encoders import FluxVAE, QwenEncoder
from omnigen2.errors import UserError
from omnigen2.evaluation.metrics import Clip, DinoImages
from tests.evaluation.metrics.test_similarity import write_tiny_clip, write_tiny_dino

MODELS = {
    "mllm": "model.layers.0.mlp.up_proj.weight",
    "vae": "decoder.conv_out.weight",
    "transformer": "layers.1.attn.to_k.weight",
    "clip": "text_model.final_layer_norm.weight",
    "dino": "encoder.layer.0.norm1.weight",
}
"""A key of each model, as its file calls it."""


def write_models(model: Path, folder: Path) -> None:
    """Write them from a tiny model folder, and CLIP and DINO beside."""
    for part in ("mllm", "vae", "transformer", "processor"):
        shutil.copytree(model / part, folder / part)
    for part, write in (("clip", write_tiny_clip), ("dino", write_tiny_dino)):
        (folder / part).mkdir()
        write(folder / part)


def load(folder: Path, part: str) -> Any:
    loaders: dict[str, Callable[[Path], Any]] = {
        "mllm": lambda path: QwenEncoder.from_folder(path, folder / "processor", dtype=torch.float32),
        "vae": FluxVAE.from_folder,
        "transformer": load_transformer,
        "clip": Clip,
        "dino": DinoImages,
    }
    return loaders[part](folder / part)


def weights_of(folder: Path, part: str) -> Path:
    (path,) = (folder / part).glob("*.safetensors")
    return path


def refused(folder: Path, part: str, *words: str) -> None:
    with pytest.raises(UserError) as told:
        load(folder, part)
    for word in words:
        assert word in str(told.value)
