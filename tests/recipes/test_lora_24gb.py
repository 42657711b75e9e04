"""Adapters beside quantised weights, as recipes/finetune/lora_24gb.yaml trains them, with the tiny model."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from omnigen2.cli import main
from omnigen2.generate import Generator, make_tiny
from omnigen2.runner.keep import committed_checkpoint
from tests.paths import ROOT

RECIPES = ROOT / "recipes" / "finetune"
ADAPTER = "weights/adapter/pytorch_lora_weights.safetensors"


def test_it_trains_goes_on_and_says_what_it_needs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_tiny(tmp_path / "tiny")
    for file in ("data.yml", "pictures.jsonl", "edits.jsonl"):
        shutil.copy(RECIPES / file, tmp_path / file)
    subprocess.run([sys.executable, str(RECIPES / "photographs.py"), str(tmp_path / "images")], check=True)

    def run(out: str, steps: int, *options: str) -> Path:
        files = [str(RECIPES / "lora_24gb.yaml"), str(RECIPES / "tiny.yaml"), f"--out={tmp_path / out}"]
        settings = [
            f"--vars.model={tmp_path / 'tiny'}",
            f"--vars.data={tmp_path / 'data.yml'}",
            f"--vars.steps={steps}",
        ]
        assert (
            main(["run", *files, *settings, "--trainer.logger=false", "--trainer.val_check_interval=2", *options]) == 0
        )
        return tmp_path / out

    run("dry", 2, "--dry_run", "--trainer.accelerator=cuda", "--trainer.devices=1")
    said = capfd.readouterr().out
    assert all(f"+ {name} " in said for name in ("AdamW", "activations", "vision-language model", "autoencoder"))
    assert "is an estimate for a full batch; it fits a GPU of 8 GB." in said
    reader = "--model.init_args.text.encoder.init_args.quantize=int8"
    whole, parts = run("whole", 2, reader), run("parts", 1, reader)
    assert committed_checkpoint(parts) is not None
    run("parts", 2, reader)
    first, second = load_file(whole / ADAPTER), load_file(parts / ADAPTER)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    checkpoint = committed_checkpoint(whole)
    assert checkpoint is not None
    assert all("lora" in name for name in torch.load(checkpoint, weights_only=True)["state_dict"])
    generator = Generator.from_folder(tmp_path / "tiny", quantize="int8")
    before = generator("a cat", height=32, width=32, steps=2, seed=1).images[0].tobytes()
    generator.load_lora(whole / "weights/adapter")
    drawn = generator("a cat", height=32, width=32, steps=2, seed=1).pictures[0]
    assert drawn.image.tobytes() != before
    assert drawn.parameters["dtype"] == "float32, int8 weights"
