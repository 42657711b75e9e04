"""An adapter is no plain LoRA, or not whole, or its configuration asks for something else, and it was loaded anyway.

Every key of its configuration and of its weights is understood, without a say, or refused by its name and the file's.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from omnigen2.adapters import fitting_lora, read_lora, save_lora
from omnigen2.dit import DiffusionTransformer
from omnigen2.errors import UserError
from omnigen2.generate.tiny import tiny_transformer
from tests.adapters.cases import adapted

LAYER = "layers.0.attn.to_q"
Tensors = dict[str, Tensor]


@cache
def plain() -> DiffusionTransformer:
    """Never changed."""
    return tiny_transformer()


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
    (halves(rank=0), r"has shape \((?:0, 48|48, 0)\)"),
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


def test_a_file_of_peft_is_not_read_without_what_peft_wrote_beside_it(tmp_path: Path) -> None:
    """Its alpha is in adapter_config.json alone; other trainers' files mean a factor of 1 where they have no alpha."""
    path = tmp_path / "adapter_model.safetensors"
    save_file(halves(), path)
    with pytest.raises(UserError, match="adapter_model.safetensors is a file of PEFT without its adapter_config.json"):
        read_lora(path)
    save_file(halves("diffusion_model."), path)
    assert read_lora(path)[LAYER].scaling == 1.0
    save_file(halves() | {f"base_model.model.{LAYER}.alpha": torch.tensor(2.0)}, path)
    assert read_lora(path)[LAYER].scaling == 0.5


def test_metadata_may_write_truth_as_python_does(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for said, fits in (("False", True), ("True", False)):
        save_file(halves(), path, {"use_dora": said})
        if fits:
            read_lora(path)
        else:
            with pytest.raises(UserError, match="is a DoRA adapter"):
                read_lora(path)
