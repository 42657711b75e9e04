"""Model folders with the codec without weights: their bridge and codec are kept, from training to the command."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from omnigen2.cli import main
from omnigen2.encoders import BlockDCT, HiddenStateBridge
from omnigen2.generate import GenerateError, Generator, ModelFolder
from omnigen2.generate.export import export_model
from tests.training.flow_parts import module, trainer, world


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("micro")
    model = module(saved="model")
    trainer(path, 1).fit(model, datamodule=world(steps=1))
    (path / "weights").mkdir()
    model.save_weights(path / "weights")
    return path / "weights"


def test_bridge_and_codec_are_those_of_the_training(folder: Path) -> None:
    generator = Generator.from_folder(folder)
    assert generator.encoders.vlm.bridge == HiddenStateBridge(template="drop")
    assert isinstance(generator.encoders.vae, BlockDCT)
    assert generator.plan.multiple == 4


def test_an_export_keeps_everything(folder: Path, tmp_path: Path) -> None:
    export_model(folder, folder, tmp_path / "out", dtype=torch.bfloat16)
    assert (tmp_path / "out" / "model_index.json").read_text() == (folder / "model_index.json").read_text()
    whole, half = (Generator.from_folder(path)("a red square", height=16, width=16, seed=1, steps=2) for path in
                   (folder, tmp_path / "out"))  # fmt: skip
    assert half.images[0].size == whole.images[0].size == (16, 16)


def test_the_command_draws_and_estimates(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["generate", "--model", str(folder), "--prompt", "a red square", "--height", "16", "--width", "16"]
    assert main([*words, "--steps", "2", "--out", str(tmp_path / "square.png")]) == 0
    with Image.open(tmp_path / "square.png") as picture:
        assert picture.size == (16, 16)
    assert main([*words, "--dry_run", "--out", str(tmp_path / "square.png")]) == 0
    assert "0.0 M weights" in capsys.readouterr().out


def test_a_wrong_bridge_is_refused(folder: Path, tmp_path: Path) -> None:
    export_model(folder, folder, tmp_path / "out")
    index = json.loads((tmp_path / "out" / "model_index.json").read_text())
    (tmp_path / "out" / "model_index.json").write_text(json.dumps(index | {"bridge": {"template": "maybe"}}))
    with pytest.raises(GenerateError, match=r"has the bridge \{'template': 'maybe'\}"):
        ModelFolder(tmp_path / "out").bridge()
