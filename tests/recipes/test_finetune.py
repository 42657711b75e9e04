"""Fine-tuning on one's own pictures, as docs/finetune.md says, with the tiny model: what it changes and leaves."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from omnigen2.cli import main
from omnigen2.generate import Generator, make_tiny
from omnigen2.runner.keep import committed_checkpoint
from tests.paths import ROOT
from tests.recipes.cases import config_of

DOCS = (ROOT / "docs" / "finetune.md").read_text()
RECIPES = ROOT / "recipes" / "finetune"
REQUEST: dict[str, Any] = {"height": 48, "width": 64, "steps": 4, "seed": 5}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model, ten photographs, and the data spec of the documentation."""
    folder = tmp_path_factory.mktemp("finetune")
    make_tiny(folder / "tiny")
    for file in ("data.yml", "pictures.jsonl", "edits.jsonl"):
        shutil.copy(RECIPES / file, folder / file)
    command = [sys.executable, str(RECIPES / "photographs.py"), str(folder / "images")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"wrote 10 pictures to {folder / 'images'}\n"
    return folder


def finetune(place: Path, name: str, *options: str) -> Path:
    out = place / "runs" / name
    command = ["run", str(RECIPES / f"{name}.yaml"), str(RECIPES / "tiny.yaml"), f"--out={out}"]
    settings = [f"--vars.model={place / 'tiny'}", f"--vars.data={place / 'data.yml'}", "--trainer.logger=false"]
    assert main([*command, *settings, *options]) == 0
    return out


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row["eval/loss"]) for row in csv.DictReader(file) if row.get("eval/loss")]


def drawn(model: Path, adapter: Path | None = None) -> np.ndarray:
    generator = Generator.from_folder(model)
    if adapter is not None:
        generator.load_lora(adapter)
    return np.asarray(generator("the face of a ginger cat", **REQUEST).images[0], dtype=int)


def test_adapters_learn_ten_pictures_and_change_what_is_drawn(place: Path) -> None:
    run = finetune(place, "lora", "--vars.steps=40", "--trainer.val_check_interval=10")
    found = losses(run)
    assert len(found) == 4
    assert found[-1] < found[0]
    before = drawn(place / "tiny")
    after = drawn(place / "tiny", run / "weights/adapter")
    assert np.abs(after - before).max() > 5
    assert np.array_equal(before, drawn(place / "tiny"))
    assert sorted(path.name for path in (run / "weights").iterdir()) == ["adapter", "optimizer.safetensors"]
    assert {path.suffix for path in (run / "samples").iterdir()} == {".png", ".json"}
    # the checkpoint holds the adapters and not the model
    checkpoint = committed_checkpoint(run)
    assert checkpoint is not None
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert state
    assert all("lora" in name for name in state)


def test_adapters_go_further_and_start_another_run_on_other_pictures_at_another_rate(place: Path) -> None:
    out, later, settings = place / "runs/short", place / "runs/later", ["--trainer.val_check_interval=2"]
    finetune(place, "lora", "--vars.steps=2", *settings, f"--out={out}")
    finetune(place, "lora", "--vars.steps=4", *settings, f"--out={out}")
    assert len(losses(out)) == 2
    (words,) = re.findall(
        r"^lightning run \S+ \S+ .*(--model.init_args.adapter=\S+ \S+) --out=runs/lora_2$", DOCS, re.M
    )
    asked = [word.replace("runs/lora/", f"{out}/") for word in words.split()]
    pictures = f"--vars.data={place / 'pictures.jsonl'}"
    finetune(place, "lora", "--vars.steps=2", *settings, pictures, *asked, f"--out={later}")
    summary = json.loads((later / "run.json").read_text())
    assert summary["starts_from"].startswith(f"adapter {out}/weights/adapter (rank 16, ")
    assert "starts from" in (later / "report.md").read_text()
    assert (
        yaml.safe_load((later / "config.yaml").read_text())["model"]["init_args"]["optimizer"]["init_args"]["lr"]
        == 1e-3
    )
    first, second = (load_file(run / "weights/adapter/pytorch_lora_weights.safetensors") for run in (out, later))
    assert first.keys() == second.keys()
    moved = max(float((first[name] - second[name]).abs().max()) for name in first)
    assert 0 < moved < 0.02  # two steps of 1e-3 from there, and not from anew


def test_fine_tuning_all_weights_leaves_a_whole_model(place: Path) -> None:
    run = finetune(place, "full", "--vars.steps=20", "--trainer.val_check_interval=5")
    found = losses(run)
    assert found[-1] < found[0]
    old, new = (
        load_file(model / "transformer/diffusion_pytorch_model.safetensors")
        for model in (place / "tiny", run / "weights")
    )
    assert old.keys() == new.keys()
    assert not torch.equal(old["x_embedder.weight"], new["x_embedder.weight"])
    assert np.abs(drawn(run / "weights") - drawn(place / "tiny")).max() > 5


def test_training_from_what_was_computed_once_as_the_documentation_says(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (options,) = re.findall(r"^omnigen2 data optimize recipes/finetune/data.yml computed (.*)$", DOCS, re.MULTILINE)
    words = [re.sub(r"^tiny", str(place / "tiny"), word) for word in options.split()]
    assert main(["data", "optimize", str(place / "data.yml"), str(place / "computed"), *words]) == 0
    settings = [f"--vars.data={place / 'computed'}", "--vars.steps=4", "--trainer.val_check_interval=2"]
    finetune(place, "lora", *settings, f"--out={place / 'runs/computed'}")
    assert len(losses(place / "runs/computed")) == 2
    other = ["--model.init_args.text.encoder.init_args.precision=bfloat16", f"--out={place / 'runs/refused'}"]
    capfd.readouterr()
    command = ["run", str(RECIPES / "lora.yaml"), str(RECIPES / "tiny.yaml"), f"--vars.model={place / 'tiny'}"]
    assert main([*command, "--trainer.logger=false", *settings, *other]) == 2
    assert re.search(
        r"error: the text states of the data \S+ were made with the reader Qwen\S+ in float32 \S+, but this "
        r"training has Qwen\S+ in bfloat16 \S+\n  use the same, or set `precomputed: ignore`",
        capfd.readouterr().err,
    )


def test_the_example_data_name_every_picture_once(place: Path) -> None:
    images = {path.name for path in (place / "images").iterdir()}
    lines = "".join((RECIPES / file).read_text() for file in ("pictures.jsonl", "edits.jsonl"))
    assert len(images) == 10
    assert all(f"images/{name}" in lines for name in images)
    assert len((RECIPES / "data.yml").read_text().splitlines()) <= 10


def test_the_documentation_shows_the_example_and_settings_that_exist() -> None:
    (spec,) = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    assert yaml.safe_load(spec) == yaml.safe_load((RECIPES / "data.yml").read_text())
    (lines,) = re.findall(r"```json\n(.*?)```", DOCS, re.DOTALL)
    written = "".join((RECIPES / file).read_text() for file in ("pictures.jsonl", "edits.jsonl"))
    assert [json.loads(line)["task_type"] for line in lines.splitlines()] == ["t2i", "edit", "in_context"]
    assert all(line in written for line in lines.splitlines()[:2])
    options = re.findall(r"^\| `(--\S+)`", DOCS, re.MULTILINE)
    assert len(options) > 4
    values = config_of(RECIPES / "lora.yaml", *options).values
    assert values["trainer"]["max_steps"] == 500
    assert values["model"]["init_args"]["transformer"]["lora"]["rank"] == 32
