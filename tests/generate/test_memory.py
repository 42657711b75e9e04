"""The estimate knows the weights exactly, and the request's size in its work space; files that models work out of."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from omnigen2.encoders import Message
from omnigen2.generate import Generator, ModelFolder, Request, RoomError, Sampling, planner_of
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.memory import Estimate, Placement, estimate


def need(model: Path, request: Request, sampling: Sampling | None = None, **options: object) -> Estimate:
    folder = ModelFolder(model)
    return estimate(folder, [planner_of(folder)(request)], sampling or Sampling(), torch.float32, **options)


def test_weights_are_those_that_are_loaded(model: Path, generator: Generator) -> None:
    found = need(model, Request(prompt="a", height=32, width=32))
    for part, module in zip(
        found.weights, (generator.transformer, generator.encoders.vlm, generator.encoders.vae), strict=True
    ):
        assert part.parameters == sum(parameter.numel() for parameter in module.parameters())
        assert part.bytes == 4 * part.parameters


def test_the_planner_is_the_generators(model: Path, generator: Generator) -> None:
    planner = planner_of(ModelFolder(model))
    assert (planner.multiple, planner.max_references) == (generator.plan.multiple, generator.plan.max_references)


def test_what_makes_it_larger_and_smaller(model: Path) -> None:
    images = (Image.new("RGB", (1024, 1024)),) * 2
    request = Request(prompt="a", images=images, height=1024, width=1024)
    base = need(model, request)
    samplings = [Sampling(text_scale=text, image_scale=image) for text, image in ((1.0, 1.0), (2.0, 1.0), (2.0, 2.0))]
    branches = [need(model, request, sampling).work[0].bytes for sampling in samplings]
    assert branches == sorted(set(branches))
    assert need(model, request, offload="idle").peak < base.peak
    assert need(model, request, vae_memory="tiled").work[1].bytes < base.work[1].bytes
    assert need(model, Request(prompt="a", height=512, width=512)).peak < base.peak


@pytest.mark.parametrize(("part", "message"), [("transformer", "missing keys"), ("vae", "has no block_out_channels")])
def test_a_wrong_configuration(model: Path, tmp_path: Path, part: str, message: str) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    (copy / part / "config.json").write_text("{}")
    with pytest.raises(RoomError, match=message):
        planner_of(ModelFolder(copy))


def test_a_missing_configuration_is_named_once(model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    (copy / "transformer" / "config.json").unlink()
    with pytest.raises(GenerateError, match=r"^\S+/config.json is missing\n  is the download complete\?$"):
        planner_of(ModelFolder(copy))


def test_broken_and_missing_weights(model: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    (file,) = (copy / "vae").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(RoomError, match="is not a whole safetensors file"):
        need(copy, Request(prompt="a", height=32, width=32))
    file.unlink()
    with pytest.raises(RoomError, match=r"has no \.safetensors file"):
        need(copy, Request(prompt="a", height=32, width=32))


@pytest.mark.parametrize("part", ["transformer", "mllm", "vae"])
def test_nothing_is_drawn_by_a_model_whose_file_was_written_over(model: Path, tmp_path: Path, part: str) -> None:
    copy = shutil.copytree(model, tmp_path / "copy")
    generator = Generator.from_folder(copy)
    generator("a cube", height=32, width=32, steps=1, seed=0)
    (file,) = (copy / part).glob("*.safetensors")
    later = file.stat().st_mtime_ns + 10**9
    os.utime(file, ns=(later, later))  # as if it had been: pages that are gone would end this process
    with pytest.raises(GenerateError, match=f"{part}/.* was written over"):
        generator("a cube", height=32, width=32, steps=1, seed=0)
    with pytest.raises(GenerateError, match="written over"):
        generator.chat([Message("user", "hello")], max_new_tokens=1)


def test_parts_that_are_read_into_memory_are_not_looked_at(model: Path) -> None:
    folder, here, there = ModelFolder(model), torch.device("cpu"), torch.device("cuda")
    counts = {
        offload: [len(Placement(folder, device, torch.float32, offload).files()) for device in (here, there)]
        for offload in ("none", "idle", "stages", "blocks")
    }
    assert counts == {"none": [3, 0], "idle": [3, 2], "stages": [3, 3], "blocks": [3, 3]}
