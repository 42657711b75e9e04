"""Somebody trained an adapter with PEFT, ai-toolkit, OneTrainer, musubi or LyCORIS, downloads it, and draws with it.

What it changes is what its trainer meant, in every dialect. And back: what we write is read by others as the same
change. What cannot be read is the matter of `test_adapters_that_are_refused.py`.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnigen2.adapters import AdapterLayout, load_lora, merge_lora, read_lora, save_lora
from omnigen2.dit import DiffusionTransformer, released_key
from omnigen2.generate.tiny import tiny_transformer
from tests.adapters.cases import adapted, released_tree

LAYER = "layers.0.attn.to_q"
Tensors = dict[str, Tensor]


@cache
def plain() -> DiffusionTransformer:
    """Never changed."""
    return tiny_transformer()


def change(path: Path, scale: float = 1.0) -> Tensors:
    """What an adapter adds to the weights of the tiny transformer, by their released names."""
    before, dit = plain().state_dict(), deepcopy(plain())
    load_lora(dit, path, scale=scale)
    merge_lora(dit)
    moved = {released_key(name): value - before[name] for name, value in dit.state_dict().items()}
    return {name: value for name, value in moved.items() if value.any()}


def close(found: Tensors, expected: Tensors) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5, msg=name)


SETTINGS: list[dict[str, Any]] = [
    {"lora_alpha": 8},
    {"lora_alpha": 2.5, "init_lora_weights": "gaussian", "use_rslora": True},
    {"lora_alpha": 8, "alpha_pattern": {r"layers\.\d+\.attn\.to_q": 32}},
    {"lora_alpha": 8, "alpha_pattern": {"to_q": -3, "layers.0.attn.to_q": 9, "^layers.1.feed_forward.linear_1": 1.5}},
    {"lora_alpha": 8, "alpha_pattern": {"layers.0.attn.to_q": 9, "to_q|to_k": 5, "o_k": 7}, "use_rslora": True},
    {
        "lora_alpha": 1,
        "rank_pattern": {r"attn\.to_out\.0": 1, r".*refiner.*to_q": 2},
        "alpha_pattern": {"refiner.0.attn.to_q": 7, "noise_refiner.0.attn.to_k": 6, r".*\.0\.attn\.to_q": 5},
    },
]


@pytest.mark.filterwarnings("ignore:The following:RuntimeWarning")  # PEFT's, of patterns that fit nothing
@pytest.mark.parametrize("said", SETTINGS)
def test_a_folder_of_peft_is_the_change_that_peft_makes(said: dict[str, Any], tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    config = LoraConfig(r=3, target_modules=["to_q", "to_k", "linear_1", "to_out.0"], **said)
    model: Any = get_peft_model(released_tree(plain()), config)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(str(tmp_path))  # sorts the patterns: what counts is what PEFT makes of the file
    model = PeftModel.from_pretrained(released_tree(plain()), str(tmp_path))
    layers = {name: part for name, part in model.base_model.model.named_modules() if hasattr(part, "lora_A")}
    pairs = read_lora(tmp_path)
    assert pairs.keys() == layers.keys()
    for name, part in layers.items():
        assert pairs[name].scaling == pytest.approx(part.scaling["default"]), name
    close(change(tmp_path), {f"{name}.weight": part.get_delta_weight("default") for name, part in layers.items()})


def dialect(front: str, down: str, up: str, dotted: bool = True) -> Callable[[str], tuple[str, str]]:
    """Names of the two matrices of a layer."""

    def named(layer: str) -> tuple[str, str]:
        name = front + (layer if dotted else layer.replace(".", "_"))
        return name + down, name + up

    return named


AB, DOWN_UP = (".lora_A.weight", ".lora_B.weight"), (".lora_down.weight", ".lora_up.weight")
DIALECTS = {
    "ai-toolkit": dialect("diffusion_model.", *AB),
    "diffusers": dialect("transformer.", *AB),
    "diffusers, older": dialect("transformer.", "_lora.down.weight", "_lora.up.weight"),
    "PEFT": dialect("base_model.model.", *AB),
    "PEFT, with the adapter's name": dialect("base_model.model.", ".lora_A.default.weight", ".lora_B.default.weight"),
    "PEFT, saved with another name": dialect("base_model.model.", ".lora_A.my-style.weight", ".lora_B.my-style.weight"),
    "PEFT under FSDP": dialect("base_model.model._fsdp_wrapped_module.", *AB),
    "DDP": dialect("module.transformer.", *AB),
    "PEFT around a compiled model": dialect("base_model.model._orig_mod.", *AB),
    "bare": dialect("", *AB),
    "OneTrainer": dialect("transformer.", *DOWN_UP),
    "musubi": dialect("lora_unet_", *DOWN_UP, dotted=False),
    "OneTrainer, older": dialect("lora_transformer_", *DOWN_UP, dotted=False),
    "ComfyUI": dialect("diffusion_model.", *DOWN_UP),
    "XLabs": dialect("diffusion_model.", ".lora.down.weight", ".lora.up.weight"),
}


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("alpha", [None, 6.0])
def test_every_dialect_is_the_same_change(name: str, alpha: float | None, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    layers = {LAYER: (48, 48), "context_refiner.0.attn.to_out.0": (48, 48), "layers.1.feed_forward.linear_2": (48, 192)}
    tensors, expected = {}, {}
    for layer, (outputs, inputs) in layers.items():
        down, up = (torch.randn(shape, generator=generator) for shape in ((3, inputs), (outputs, 3)))
        down_key, up_key = DIALECTS[name](layer)
        tensors |= {down_key: down, up_key: up}
        if alpha is not None:
            tensors[down_key.replace("_lora.down", ".lora.down").split(".lora")[0] + ".alpha"] = torch.tensor(alpha)
        expected[f"{layer}.weight"] = (1.0 if alpha is None else alpha / 3) * up @ down
    save_file(tensors, tmp_path / "some name.safetensors")
    close(change(tmp_path / "some name.safetensors"), expected)


def test_names_inside_of_which_torch_puts_wrappers_are_read(tmp_path: Path) -> None:
    key = "base_model.model.layers.0._checkpoint_wrapped_module.attn.to_q.lora_{}.weight"
    save_file({key.format("A"): torch.ones(2, 48), key.format("B"): torch.ones(48, 2)}, tmp_path / "a.safetensors")
    assert change(tmp_path / "a.safetensors").keys() == {f"{LAYER}.weight"}


def test_a_strength_multiplies_the_change(tmp_path: Path) -> None:
    save_lora(adapted(), tmp_path)
    close(change(tmp_path, -0.5), {key: -0.5 * value for key, value in change(tmp_path).items()})
    close(change(tmp_path, 3), {key: 3 * value for key, value in change(tmp_path).items()})


@pytest.mark.parametrize("layout", ["diffusers", "peft", "comfyui"])
def test_what_we_write_is_the_same_change_again(layout: AdapterLayout, tmp_path: Path) -> None:
    dit = adapted()
    path = save_lora(dit, tmp_path / layout, layout)
    assert path is not None
    before = plain().state_dict()
    merge_lora(dit)
    close(change(path), {released_key(n): v - before[n] for n, v in dit.state_dict().items() if (v - before[n]).any()})


def test_comfyui_reads_what_we_write_for_it(tmp_path: Path) -> None:
    """Its rule: of a weight NAME.weight of the model it asks for NAME.lora_B.weight, NAME.lora_A.weight, NAME.alpha."""
    path = save_lora(adapted(), tmp_path, "comfyui")
    assert path is not None
    file, used, pairs = load_file(path), set(), read_lora(path)
    for layer, pair in pairs.items():
        name = f"diffusion_model.{layer}"
        used |= {f"{name}.lora_A.weight", f"{name}.lora_B.weight", f"{name}.alpha"}
        factor = file[f"{name}.alpha"].item() / file[f"{name}.lora_A.weight"].shape[0]
        assert factor == pytest.approx(5 / 3)
        assert pair.scaling == pytest.approx(factor)
    assert used == set(file)
    assert len(pairs) == 20
