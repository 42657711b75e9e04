"""A file of a model folder was broken, and what came was a traceback, or a model that took for ever to build.

Indices, headers and configurations of another kind are told with their file, before anything is built.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.reports.parts import MODELS, refused, weights_of


@pytest.mark.parametrize("part", ["mllm", "vae", "transformer"])
@pytest.mark.parametrize(
    "name", ["../elsewhere.safetensors", "/elsewhere.safetensors", "a/b.safetensors", "..\\x.safetensors"]
)
def test_an_index_does_not_lead_out_of_its_folder(models: Path, part: str, name: str) -> None:
    path = weights_of(models, part)
    shutil.copy(path, models / "elsewhere.safetensors")
    index = path.with_name(f"{path.name}.index.json")
    index.write_text(json.dumps({"weight_map": dict.fromkeys(load_file(path), name)}))
    path.unlink()
    refused(models, part, str(index), "expected the name of a file beside the index")


@pytest.mark.parametrize("part", ["mllm", "vae", "transformer"])
@pytest.mark.parametrize(
    "content",
    ["[]", "null", '{"weight_map": []}', '{"weight_map": null}', '{"weight_map": {"a": true}}', "[" * 200_000],
)
def test_an_index_of_another_kind_is_told(models: Path, part: str, content: str) -> None:
    path = weights_of(models, part)
    index = path.with_name(f"{path.name}.index.json")
    index.write_text(content)
    path.unlink()
    refused(models, part, str(index))


@pytest.mark.parametrize("part", MODELS)
@pytest.mark.parametrize("header", [b"", b"\x08", (2**62).to_bytes(8, "little"), b"\x04\0\0\0\0\0\0\0null"], ids=str)
def test_broken_headers_are_told(models: Path, part: str, header: bytes) -> None:
    path = weights_of(models, part)
    path.write_bytes(header)
    refused(models, part, f"{path} ({len(header)} bytes) is not a whole safetensors file")


@pytest.mark.parametrize("part", MODELS)
@pytest.mark.parametrize("content", ["[]", "null", "true", "{", "\xff", "1" * 5000])
def test_configurations_of_another_kind_are_told(models: Path, part: str, content: str) -> None:
    path = models / part / "config.json"
    path.write_bytes(content.encode("latin-1"))
    refused(models, part, str(path))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("mllm", "num_hidden_layers", 1025),
        ("mllm", "vocab_size", 10**12),
        ("mllm", "intermediate_size", 2**22),
        ("mllm", "hidden_size", int("9" * 400)),
        ("vae", "layers_per_block", 1025),
        ("vae", "sample_size", 10**400),
        ("transformer", "num_layers", 1025),
        ("transformer", "hidden_size", 10**400),
        ("transformer", "norm_eps", True),
        ("transformer", "axes_dim_rope", [True, 4, 4]),
        ("transformer", "positions", []),
        ("transformer", "positions", {"class": "OmniPositions", "advance": "one"}),
        ("transformer", "positions", {"class": "OmniPositions", "step": 1}),
        ("transformer", "_class_name", "Lumina2Transformer2DModel"),
        ("dino", "num_hidden_layers", 1025),
    ],
)
def test_sizes_that_no_model_has_are_refused_before_it_is_built(models: Path, part: str, key: str, value: Any) -> None:
    path = models / part / "config.json"
    content = json.loads(path.read_text())
    place = content["text_config"] if part == "mllm" else content
    assert key in place or part == "transformer"
    place[key] = value
    path.write_text(json.dumps(content))
    refused(models, part, str(path))


@pytest.mark.parametrize("part", ["mllm", "clip"])
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("content", ["", "[]", '{"eos_token": 1, "eos_token": "<|im_end|>"}'])
def test_a_broken_file_of_a_tokenizer_is_told(models: Path, part: str, name: str, content: str) -> None:
    path = models / ("processor" if part == "mllm" else part) / name
    path.write_text(content)
    refused(models, part, str(path))
