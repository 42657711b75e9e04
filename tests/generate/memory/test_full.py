"""A random model of any size is a whole model folder, and is refused where there is no room."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from omnigen2.cli import main
from omnigen2.dit import variants
from omnigen2.encoders import QwenEncoder
from omnigen2.generate import GenerateError, Generator, Sizes, make_full
from omnigen2.generate.made import full
from tests.generate.memory.conftest import SMALL


def test_it_is_sharded_and_draws(half: Path) -> None:
    assert len(list((half / "transformer").glob("*.safetensors"))) > 1
    assert len(list((half / "mllm").glob("*.safetensors"))) > 1
    generator = Generator.from_folder(half, dtype=torch.float32)
    assert len(generator.transformer.blocks) == 3
    assert isinstance(generator.encoders.vlm, QwenEncoder)
    image = generator("a cube", height=32, width=32, steps=2, seed=0).images[0]
    assert len(set(image.tobytes())) > 20
    head = generator.encoders.vlm.model.lm_head.weight
    assert head is generator.encoders.vlm.model.get_input_embeddings().weight
    norms = [one for name, one in generator.transformer.named_parameters() if name.endswith("norm.weight")]
    assert norms
    assert all((norm == 1).all() for norm in norms)


def test_a_seed_is_one_model(half: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    make_full(tmp_path / "same", SMALL, progress=lambda done, of: told.append((done, of)))
    make_full(tmp_path / "other", SMALL, seed=1)
    for path in half.rglob("*.safetensors"):
        name = path.relative_to(half)
        assert path.read_bytes() == (tmp_path / "same" / name).read_bytes()
        assert path.read_bytes() != (tmp_path / "other" / name).read_bytes()
    assert told[-1][0] == told[-1][1]


def test_the_released_sizes() -> None:
    models = full._models(Sizes())
    found = {part: sum(weight.numel() for weight in model.parameters()) for part, model in models.items()}
    assert found == {"mllm": 3_754_622_976, "transformer": 3_967_161_400, "vae": 83_819_683}
    assert Sizes().transformer == variants.OMNIGEN2_4B


def test_a_folder_that_has_files_and_a_full_disk_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.txt").write_text("mine")
    assert main(["make-full", str(tmp_path / "there")]) == 2
    assert "there has files already" in capsys.readouterr().err
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**10, 0, 10**10))
    assert main(["make-full", str(tmp_path / "new")]) == 2
    assert "will take 15.6 GB, but the disk has 10.0 GB left" in capsys.readouterr().err
    with pytest.raises(GenerateError, match="is on another disk|on another disk"):
        make_full(tmp_path / "new", Sizes())
    assert list((tmp_path / "new").iterdir()) == []


def test_the_command_writes_what_the_function_does(
    tmp_path: Path, half: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(full, "Sizes", lambda: SMALL)
    assert main(["make-full", str(tmp_path / "new")]) == 0
    assert "wrote" in capsys.readouterr().out
    name = "transformer/config.json"
    assert (tmp_path / "new" / name).read_bytes() == (half / name).read_bytes()
