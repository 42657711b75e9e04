"""Tiny models on disk, written once per test session, and the parity cases of the encoders."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from omnigen2.encoders import FluxVAE, QwenEncoder, write_tiny_processor, write_tiny_vae, write_tiny_vlm

PARITY = Path(__file__).parent.parent / "parity"


def parity(name: str) -> dict[str, Any]:
    return json.loads((PARITY / "encoders_manifest.json").read_text())[name]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `mllm/`, `mllm_untied/`, `processor/` and `vae/`."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_vlm(folder / "mllm")
    write_tiny_vlm(folder / "mllm_untied", tied=False)
    write_tiny_processor(folder / "processor")
    write_tiny_vae(folder / "vae")
    return folder


@pytest.fixture(scope="session")
def encoder(folder: Path) -> QwenEncoder:
    """Shared: do not change it."""
    return QwenEncoder.from_folder(folder / "mllm", folder / "processor", dtype=torch.float32)


@pytest.fixture(scope="session")
def vae(folder: Path) -> FluxVAE:
    """Shared: do not change it."""
    return FluxVAE.from_folder(folder / "vae")
