"""The tiny model folders."""

from pathlib import Path

import pytest
import torch

from omnigen2.encoders import QwenEncoder, write_tiny_vae, write_tiny_vlm


def test_folders_follow_the_seed_and_leave_the_generator_alone(tmp_path: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_tiny_vlm(tmp_path / name / "mllm", seed=seed)
        write_tiny_vae(tmp_path / name / "vae", seed=seed)
    assert torch.equal(torch.rand(1), expected)
    for file in ("mllm/model.safetensors", "vae/diffusion_pytorch_model.safetensors"):
        weights = {name: (tmp_path / name / file).read_bytes() for name in "abc"}
        assert weights["a"] == weights["b"] != weights["c"]


def test_hidden_sizes(folder: Path, tmp_path: Path) -> None:
    write_tiny_vlm(tmp_path / "mllm", hidden_size=96)
    encoder = QwenEncoder.from_folder(tmp_path / "mllm", folder / "processor")
    assert encoder.dim == encoder(encoder.tokenizer.drawings(["x"])).states.shape[1] == 96
    with pytest.raises(ValueError, match="multiple of 32 .*, got 40"):
        write_tiny_vlm(tmp_path, hidden_size=40)
