"""`omnigen2 data optimize` with a codec or a language model, and `inspect`, which says what made the numbers."""

from pathlib import Path

import pytest
import torch

from omnigen2.cli import main
from omnigen2.data import StreamingSource
from omnigen2.encoders import BlockDCT
from omnigen2.microworld.runs import RandomMicroVLM
from omnigen2.pictures import ResizePolicy
from omnigen2.training.parts import save_vlm
from tests.data.cases import picture, t2i, write_jsonl


class Told:
    """Runs commands on one drawing of 32 x 64."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        (folder / "a.png").write_bytes(picture(32, 64))
        write_jsonl(folder / "x.jsonl", [t2i("a.png") | {"instruction": "a red square"}])

    def optimize(self, out: str, *words: str) -> str:
        paths = [str(self.folder / name) for name in ("x.jsonl", out)]
        assert main(["data", "optimize", *paths, *words, "--device", "cpu"]) == 0
        return self.capsys.readouterr().out

    def inspect(self, out: str) -> str:
        assert main(["data", "inspect", str(self.folder / out), "--out", str(self.folder / "s.png")]) == 0
        return self.capsys.readouterr().out


@pytest.fixture
def told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(tmp_path, capsys)


def test_latents_are_stored_and_shown(told: Told) -> None:
    BlockDCT(4).save(told.folder / "vae")
    sizes = ["--max_pixels", "512", "--multiple", "8", "--reference-pixels", "512,256", "--latent_type", "float32"]
    said = told.optimize("out", "--vae", str(told.folder / "vae"), *sizes)
    assert "latents: float32, made by BlockDCT sha256:" in said
    assert "  latents: float32, made by BlockDCT sha256:" in told.inspect("out")
    latents = StreamingSource(told.folder / "out" / "x")[0].latents
    assert latents is not None
    assert latents.origin.resize == ResizePolicy(512, 2048, 8, (512, 256))
    assert latents.tensors[0].tensor.shape == (1, 12, 4, 8)
    assert torch.isfinite(latents.tensors[0].tensor).all()


def test_states_are_stored_and_shown(told: Told) -> None:
    save_vlm(RandomMicroVLM().load(), told.folder / "model")
    words = ["--vlm", str(told.folder / "model")]
    said = told.optimize("out", *words, "--vlm_type", "float32", "--vlm-template", "drop", "--max_text", "9")
    line = "text states: float32, made by Qwen2_5_VLForConditionalGeneration in float32 sha256:"
    assert line in said
    assert f"  {line}" in told.inspect("out")
    states = StreamingSource(told.folder / "out" / "x")[0].states
    assert states is not None
    assert states.tensors[0].shape == (3, 64)
    assert "max_tokens=9, overflow='cut'), HiddenStateBridge(tokens='text', template='drop')" in states.origin.prompts
    assert "text states: bfloat16, made by Qwen2_5_VLForConditionalGeneration in bfloat16" in told.optimize("2", *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max_pixels", "99"], "error: --max_pixels is for latents\n"),
        (["--vae", "{dir}/none"], "error: there is no folder {dir}/none"),
        (["--vae", "{dir}", "--reference_pixels", "a,b"], "--reference_pixels: 'a,b' is no whole number"),
        (["--vlm_type", "float32"], "error: --vlm_type is for text states\n"),
        (["--device", "cpu"], "error: --device is for what is computed\n       name a model with --vae or --vlm"),
        (["--vlm", "{dir}/none"], "error: there is no folder {dir}/none/"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(tmp_path: Path, capsys, words: list[str], message: str) -> None:
    words = [word.format(dir=tmp_path) for word in words]
    assert main(["data", "optimize", "spec.yml", str(tmp_path / "out"), *words]) == 2
    assert message.format(dir=tmp_path) in capsys.readouterr().err
