"""Somebody trained an adapter with PEFT, ai-toolkit, OneTrainer, musubi or LyCORIS, downloads it, and draws with it.

What it changes is what its trainer meant, in every dialect; what is no plain LoRA, or not whole, is refused with the
file and the key. And back: what we write is read by others as the same change.
"""

import json
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnigen2.adapters import AdapterLayout, fitting_lora, load_lora, merge_lora, read_lora, save_lora
from omnigen2.dit import DiffusionTransformer, released_key
from omnigen2.errors import UserError
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


def halves(front: str = "base_model.model.", layer: str = LAYER, rank: int = 4, width: int | None = None) -> Tensors:
    up = torch.ones(48, rank if width is None else width)
    return {f"{front}{layer}.lora_A.weight": torch.ones(rank, 48), f"{front}{layer}.lora_B.weight": up}


PLAIN = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": False, "init_lora_weights": True}
ALLOWED: list[dict[str, Any]] = [
    {"bias": "none", "use_dora": False, "modules_to_save": None, "layer_replication": None, "eva_config": None},
    {"target_modules": ["to_q"], "lora_dropout": 0.1, "task_type": None, "peft_version": "0.21.2", "loftq_config": {}},
    {"init_lora_weights": "gaussian", "runtime_config": {"ephemeral_gpu_offload": False}, "revision": "main"},
    {"init_lora_weights": "eva"}, {"init_lora_weights": "orthogonal"}, {"init_lora_weights": False},
    {"key_of_a_newer_peft": None}, {"rank_pattern": None, "alpha_pattern": None},
]  # fmt: skip


@pytest.mark.parametrize("said", ALLOWED)
def test_keys_without_a_say_are_no_obstacle(said: dict[str, Any], tmp_path: Path) -> None:
    save_file(halves(), tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(PLAIN | said))
    assert read_lora(tmp_path)[LAYER].scaling == 2.0


REFUSED: list[tuple[dict[str, Any], str]] = [
    *(
        ({"init_lora_weights": start}, rf"began as {start} \(init_lora_weights\).*\n.*path_initial_model_for_weight")
        for start in ("pissa", "pissa_niter_16", "olora", "OLoRA", "corda", "lora_ga")
    ),
    ({"init_lora_weights": "loftq"}, "began as loftq .*\n.*merge_and_unload"),
    ({"init_lora_weights": "tomorrow"}, 'has init_lora_weights "tomorrow", expected true, false or one of gaussian'),
    *(({"peft_type": kind}, f"of an adapter of peft_type '{kind}'") for kind in ("LOKR", "LOHA", "ADALORA", "IA3")),
    ({"use_dora": True}, "is a DoRA adapter"),
    ({"use_dora": "false"}, 'has use_dora "false", expected true or false'),
    ({"use_rslora": "false"}, 'has use_rslora "false", expected true or false'),
    ({"use_rslora": 0}, "has use_rslora 0, expected true or false"),
    ({"lora_bias": True}, "is a LoRA-with-bias adapter"),
    ({"bias": "all"}, "is a bias-training adapter .bias is 'all'."),
    ({"modules_to_save": ["x_embedder"]}, "is a whole-layer adapter .modules_to_save is"),
    ({"layer_replication": [[0, 2]]}, "is a layer-replicating adapter"),
    ({"alora_invocation_tokens": [1]}, "is a aLoRA adapter"),
    ({"kasa_config": {"x": 1}}, "is a KaSA adapter"),
    ({"fan_in_fan_out": True}, "is a transposed adapter"),
    ({"key_of_a_newer_peft": 3}, "has key_of_a_newer_peft, which is not known"),
    ({"r": "4"}, 'has r "4", expected a whole number of at least 1'),
    ({"r": 0}, "has r 0, expected a whole number of at least 1"),
    ({"r": -4}, "has r -4"),
    ({"r": True}, "has r true"),
    ({"r": 4.0}, "has r 4.0"),
    ({"r": 8}, "has rank 4, the adapter's configuration says 8"),
    ({"rank_pattern": {"to_q": 2}}, "has rank 4, the adapter's configuration says 2"),
    ({"rank_pattern": {"to_q": "4"}}, 'rank_pattern, has to_q "4"'),
    ({"rank_pattern": ["to_q"]}, "has rank_pattern .*, expected an object"),
    ({"lora_alpha": True}, "has lora_alpha true, expected a number"),
    ({"lora_alpha": "8"}, 'has lora_alpha "8", expected a number'),
    ({"lora_alpha": None}, "has lora_alpha null, expected a number"),
    ({"lora_alpha": float("nan")}, "has lora_alpha NaN, expected a number"),
    ({"lora_alpha": float("inf")}, "has lora_alpha Infinity, expected a number"),
    ({"alpha_pattern": {"to_q": True}}, "has to_q true, expected a number"),
    ({"alpha_pattern": {"to_(q": 4}}, r"has 'to_\(q', which is no regular expression"),
]


@pytest.mark.parametrize(("said", "message"), REFUSED)
@pytest.mark.parametrize("inside", [False, True])
def test_what_the_configuration_asks_for_is_done_or_refused_by_name(
    said: dict[str, Any], message: str, inside: bool, tmp_path: Path
) -> None:
    config = PLAIN | said
    metadata = {"lora_adapter_metadata": json.dumps({f"transformer.{key}": value for key, value in config.items()})}
    save_file(halves(), tmp_path / "adapter_model.safetensors", metadata if inside else None)
    if not inside:
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message) as error:
        fitting_lora(plain(), tmp_path)
    assert str(tmp_path) in str(error.value)
    assert error.value.remedy


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"init_lora_weights": "pissa"}, "began as pissa"),
        ({"lora_alpha": "8", "r": "16"}, "configuration says 16"),
        ({"lora_adapter_metadata": '{"transformer.r": 4, "text_encoder.r": 4}'}, "is also about the text encoder"),
        ({"lora_adapter_metadata": "{"}, "lora_adapter_metadata, is .*, expected an object"),
        ({"lora_adapter_metadata": "[]"}, "lora_adapter_metadata, is .*, expected an object"),
    ],
)
def test_metadata_that_asks_for_something_else_is_refused(
    metadata: dict[str, str], message: str, tmp_path: Path
) -> None:
    save_file(halves(), tmp_path / "pytorch_lora_weights.safetensors", metadata)
    with pytest.raises(UserError, match=message):
        read_lora(tmp_path)


@pytest.mark.parametrize("text", ['{"r": 4,', "[]", "null", '{"r": 4, "r": 5}', "\ufeff\x00", "[" * 200 + "]" * 200])
def test_a_broken_configuration_is_named(text: str, tmp_path: Path) -> None:
    save_file(halves(), tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(UserError, match="adapter_config.json"):
        read_lora(tmp_path)


def test_two_configurations_that_disagree_are_refused(tmp_path: Path) -> None:
    path = save_lora(adapted(), tmp_path)
    assert path is not None
    (tmp_path / "adapter_config.json").write_text(json.dumps(PLAIN))
    with pytest.raises(UserError, match="say different things\n  remove the one"):
        read_lora(path)


OTHERS: list[tuple[Tensors, str]] = [
    *(
        ({**halves(), f"diffusion_model.{LAYER}.{key}": torch.ones(48)}, f"is a {kind}.* adapter, it has.*{key}")
        for key, kind in (
            ("dora_scale", "DoRA"), ("lora_magnitude_vector", "DoRA"), ("lora_magnitude_vector.default.weight", "DoRA"),
            ("lokr_w1", "LoKr"), ("lokr_w2_a", "LoKr"), ("hada_w1_a", "LoHa"), ("loha_w1_a", "LoHa"), ("diff", "full"),
            ("diff_b", "full"), ("set_weight", "whole"), ("oft_blocks", "OFT"), ("lora_mid.weight", "LoCon"),
            ("lora_B.bias", "LoRA-with-bias"), ("a1.weight", "GLoRA"), ("reshape_weight", "reshaping"),
        )
    ),
    *(
        ({**halves(), key: torch.ones(4, 48)}, "of the text encoder\n  only the transformer can be adapted")
        for key in (
            "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", "text_encoder.layers.0.lora_A.weight",
            "lora_te1_x.alpha", "text_encoder_2.x.lora_linear_layer.up.weight",
        )
    ),
    ({"x_embedder.weight": torch.ones(4)}, "has the key x_embedder.weight"),
    ({f"{LAYER}.lora_A.weight": torch.ones(4, 48)}, f"has only lora_A of {LAYER}"),
    ({f"{LAYER}.lora_up.weight": torch.ones(48, 4)}, f"has only lora_up of {LAYER}"),
    ({f"{LAYER}.alpha": torch.tensor(1.0)}, f"has only alpha of {LAYER}"),
    ({**halves(), **halves("transformer.")}, f"gives {LAYER} twice, as base_model.* and as transformer"),
    (
        {**halves(""), "lora_unet_layers_0_attn_to_q.lora_up.weight": torch.ones(48, 4)},
        f"gives {LAYER} twice, as .* and as .*",
    ),
    (halves(width=1), "lora_A.weight has rank 4, .*lora_B.weight has rank 1"),
    (halves(width=3), "lora_A.weight has rank 4, .*lora_B.weight has rank 3"),
    (halves(rank=0), r"has shape \(0, 48\)"),
    *(
        ({**halves(), f"base_model.model.{LAYER}.lora_A.weight": torch.zeros(4, 48).to(kind)}, f"A.weight is of {kind}")
        for kind in (torch.int8, torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn)
    ),
    ({**halves(), f"base_model.model.{LAYER}.lora_A.weight": torch.ones(4)}, r"lora_A.weight has shape \(4,\)"),
    ({**halves(), f"base_model.model.{LAYER}.lora_A.weight": torch.ones(4, 48, 1, 1)}, r"has shape \(4, 48, 1, 1\)"),
    ({**halves(), f"base_model.model.{LAYER}.lora_B.weight": torch.full((48, 4), torch.nan)}, "not finite"),
    ({**halves(), f"{LAYER}.alpha": torch.tensor(torch.inf)}, "alpha has values that are not finite"),
    ({**halves(), f"{LAYER}.alpha": torch.ones(2)}, "alpha is of shape"),
    (halves(layer="layers.9.attn.to_q"), "adapts layers.9.attn.to_q, which the transformer lacks"),
    ({"lora_unet_layers_9_attn_to_q.lora_up.weight": torch.ones(48, 4)}, "adapts lora_unet_layers_9.* lacks"),
    ({}, "has no LoRA layers"),
]  # fmt: skip


@pytest.mark.parametrize(("tensors", "message"), OTHERS)
def test_files_that_are_no_whole_plain_lora_are_refused_with_the_key(
    tensors: Tensors, message: str, tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "downloaded.safetensors")
    with pytest.raises(UserError, match=message) as error:
        fitting_lora(plain(), tmp_path / "downloaded.safetensors")
    assert "downloaded.safetensors" in str(error.value)


def test_an_alpha_beside_a_configuration_must_agree(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(json.dumps(PLAIN))
    for alpha, fits in ((8.0, True), (4.0, False)):
        save_file({**halves(), f"{LAYER}.alpha": torch.tensor(alpha)}, tmp_path / "adapter_model.safetensors")
        if fits:
            assert read_lora(tmp_path)[LAYER].scaling == 2.0
        else:
            with pytest.raises(UserError, match="asks for a factor of 1, the adapter's configuration for 2"):
                read_lora(tmp_path)


def test_a_folder_with_two_adapters_asks_which(tmp_path: Path) -> None:
    for layout in ("diffusers", "comfyui"):
        save_lora(adapted(), tmp_path, layout)
    with pytest.raises(UserError, match=r"has pytorch_lora_weights.safetensors and comfyui_lora.safetensors"):
        read_lora(tmp_path)
