"""Adapters with damaged matrices, names or configuration: refused, or the change that the file means."""

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import torch
from safetensors.torch import load_file

from omnigen2.adapters import AdapterLayout, load_lora, read_lora, save_lora
from omnigen2.generate.tiny import tiny_transformer
from tests.adapters.cases import adapted
from tests.fuzz.attempt import Case
from tests.fuzz.damage import json_damaged, safetensors_damaged, workshop

LAYOUTS: tuple[AdapterLayout, ...] = ("peft", "diffusers", "comfyui")
CONFIG = "adapter_config.json"
MEANINGS: tuple[tuple[str, Any], ...] = (
    ("lora_alpha", 6.0), ("lora_alpha", 0.5), ("lora_alpha", "8"), ("lora_alpha", True), ("r", 2), ("r", "3"),
    ("use_rslora", True), ("use_rslora", "false"), ("use_dora", True), ("use_dora", "true"), ("bias", "all"),
    ("alpha_pattern", {"to_q": 32}), ("alpha_pattern", {r"layers\.\d+\.attn\.to_k": 7}), ("alpha_pattern", {"(": 1}),
    ("alpha_pattern", {"to_v": "9"}), ("alpha_pattern", {"q": 5}), ("rank_pattern", {"to_q": 2}),
    ("rank_pattern", {"to_q": 3}), ("peft_type", "LOHA"), ("init_lora_weights", "pissa"),
    ("init_lora_weights", "olora"), ("init_lora_weights", "pissa_niter_4"), ("modules_to_save", ["norm"]),
    ("use_qalora", True), ("new_key", "x"),
)  # fmt: skip
"""Keys of a configuration that other programs write, right and wrong."""


@cache
def valid(layout: AdapterLayout) -> Path:
    folder = workshop() / "adapters" / layout
    save_lora(adapted(), folder, layout)
    return folder


def cases(seed: int) -> Iterator[Case]:
    rng, numbers = Random(f"adapters {seed}"), count()
    while True:
        layout = rng.choice(LAYOUTS)
        files = {path.name: path.read_bytes() for path in sorted(valid(layout).iterdir())}
        weights = next(name for name in files if name.endswith(".safetensors"))
        if CONFIG in files and rng.random() < 0.5:
            said = json.loads(files[CONFIG])
            if rng.random() < 0.6:
                key, value = rng.choice(MEANINGS)
                how, text = f"{key} is {value!r}", json.dumps({**said, key: value})
            else:
                how, text = json_damaged(said, rng)
            files[CONFIG] = text.encode("utf-8", "surrogatepass")
        else:
            how, files[weights] = safetensors_damaged(files[weights], rng)
        yield f"{layout}: {how}", attempt(f"{seed}_{next(numbers)}", files, weights)


def attempt(name: str, files: dict[str, bytes], weights: str) -> Callable[[], None]:
    def call() -> None:
        folder = workshop() / "adapters" / name
        folder.mkdir(parents=True)
        try:
            for file, content in files.items():
                (folder / file).write_bytes(content)
            model = tiny_transformer()
            load_lora(model, folder)
            means_what_it_says(folder, weights, model)
        finally:
            shutil.rmtree(folder)

    return call


def means_what_it_says(folder: Path, weights: str, model: torch.nn.Module) -> None:
    """Every pair that was read stands in the file, under its layer's name, with the factor that PEFT takes."""
    stored = load_file(folder / weights)
    said = json.loads((folder / CONFIG).read_text()) if (folder / CONFIG).exists() else {}
    if said:
        believable(said)
    pairs = read_lora(folder)
    matrices = [key for key in stored if not key.endswith(".alpha")]
    assert len(matrices) == 2 * len(pairs), f"{len(pairs)} pairs of {len(matrices)} matrices"
    deltas: list[torch.Tensor] = []
    for layer, pair in pairs.items():
        own = {key: tensor for key, tensor in stored.items() if f".{layer}." in f".{key}"}
        (down,) = [tensor for key, tensor in own.items() if "lora_A" in key]
        (up,) = [tensor for key, tensor in own.items() if "lora_B" in key]
        assert down.is_floating_point() and up.is_floating_point(), f"{layer} of {down.dtype}"  # noqa: PT018
        assert torch.equal(pair.down, down), f"{layer} is another"
        assert torch.equal(pair.up, up), f"{layer} is another"
        if said:
            expected = scaling(said, layer, down.shape[0])
            assert math.isclose(pair.scaling, expected, rel_tol=1e-6), f"{layer}: {pair.scaling}, PEFT {expected}"
        alphas = [float(tensor) for key, tensor in own.items() if key.endswith(".alpha")]
        if alphas:  # as ComfyUI takes it
            assert math.isclose(pair.scaling, alphas[0] / down.shape[0], rel_tol=1e-6), f"{layer}: {pair.scaling}"
        deltas.append(pair.scaling * (up.double() @ down.double()))
    loaded = [part for part in model.modules() if hasattr(part, "get_delta_weight")]
    applied = sorted(float(part.get_delta_weight(next(iter(part.lora_A))).double().norm()) for part in loaded)
    wanted = sorted(float(delta.norm()) for delta in deltas)
    assert len(applied) == len(wanted), f"{len(applied)} of {len(wanted)} are loaded"
    assert all(math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6) for a, b in zip(applied, wanted, strict=True)), "others"


def believable(said: dict[str, Any]) -> None:
    """What a configuration may say that is accepted."""
    for key in ("r", "lora_alpha"):
        assert key not in said or type(said[key]) in (int, float), f"{key} is {said[key]!r}"
    assert said.get("use_rslora") in (None, True, False), f"use_rslora is {said['use_rslora']!r}"
    assert said.get("peft_type", "LORA") == "LORA", f"peft_type is {said['peft_type']!r}"
    for key in ("use_dora", "use_qalora", "modules_to_save", "new_key", "unknown_key"):
        assert not said.get(key), f"{key} is {said[key]!r}"
    assert not str(said.get("init_lora_weights")).startswith(("pissa", "olora")), "the base was another"


def scaling(said: dict[str, Any], layer: str, rank: int) -> float:
    """As PEFT computes it."""

    def first(patterns: dict[str, Any] | None, default: Any) -> Any:
        return next((v for key, v in (patterns or {}).items() if re.match(rf"(.*\.)?({key})$", layer)), default)

    alpha = first(said.get("alpha_pattern"), said.get("lora_alpha", 8))
    assert first(said.get("rank_pattern"), said.get("r", rank)) == rank, f"{layer} is said to have another rank"
    return alpha / (math.sqrt(rank) if said.get("use_rslora") else rank)
