"""Files of adapters: the released names, what diffusers and PEFT read of ours, and we of theirs."""

import json
import stat
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from omnigen2.adapters import AdapterLayout, load_lora, read_lora, save_lora
from omnigen2.errors import UserError
from omnigen2.generate import Generator
from omnigen2.generate.tiny import tiny_transformer
from tests.adapters.cases import adapted

LAYER = "transformer.layers.0.attn.to_q"


@pytest.mark.parametrize(("layout", "prefix"), [("diffusers", "transformer."), ("peft", "base_model.model.")])
def test_files_have_the_released_names_and_only_the_adapter(layout: AdapterLayout, prefix: str, tmp_path: Path) -> None:
    path = save_lora(adapted(), tmp_path, layout)
    assert path is not None
    keys = set(load_file(path))
    assert f"{prefix}layers.0.attn.to_q.lora_A.weight" in keys
    assert f"{prefix}context_refiner.0.attn.to_out.0.lora_B.weight" in keys
    assert len(keys) == 2 * 4 * 5  # four layers in each of two blocks and three refiners
    (tmp_path / "plain").touch()
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {
        stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    }
    assert read_lora(path).keys() == read_lora(tmp_path).keys()


def test_peft_reads_our_configuration(tmp_path: Path) -> None:
    from peft import LoraConfig

    save_lora(adapted(), tmp_path, "peft")
    config = LoraConfig.from_pretrained(str(tmp_path))
    assert (config.r, config.lora_alpha) == (3, 5)
    assert "layers.0.attn.to_q" in config.target_modules


def test_diffusers_reads_our_metadata(tmp_path: Path) -> None:
    from diffusers.loaders.lora_base import _fetch_state_dict
    from peft import LoraConfig

    save_lora(adapted(), tmp_path)
    unused = dict.fromkeys(("cache_dir", "proxies", "token", "revision", "subfolder"))
    tensors, metadata = _fetch_state_dict(
        str(tmp_path), weight_name="pytorch_lora_weights.safetensors", use_safetensors=True, local_files_only=True,
        force_download=False, user_agent={}, allow_pickle=False, **unused,
    )  # fmt: skip
    config = LoraConfig(**{key.removeprefix("transformer."): value for key, value in metadata.items()})
    assert (config.r, config.lora_alpha) == (3, 5)
    assert len(tensors) == 40


def test_different_ranks_and_rank_stabilised_scaling(tmp_path: Path) -> None:
    """A PEFT folder by somebody else: patterns for one layer, alpha over the root of the rank."""
    tensors = {}
    for layer, rank in (("layers.0.attn.to_q", 4), ("layers.1.attn.to_q", 1)):
        tensors[f"base_model.model.{layer}.lora_A.weight"] = torch.randn(rank, 48)
        tensors[f"base_model.model.{layer}.lora_B.weight"] = torch.randn(48, rank)
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    patterns = {"alpha_pattern": {"layers.1.attn.to_q": 2}, "rank_pattern": {"layers.1.attn.to_q": 1}}
    config = {"r": 4, "lora_alpha": 6, "use_rslora": True, **patterns}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    pairs = read_lora(tmp_path)
    assert {layer: pair.scaling for layer, pair in pairs.items()} == {"layers.0.attn.to_q": 3, "layers.1.attn.to_q": 2}
    dit = tiny_transformer()
    load_lora(dit, tmp_path)
    save_lora(dit, tmp_path / "ours")
    assert {layer: (p.rank, p.scaling) for layer, p in read_lora(tmp_path / "ours").items()} == {
        "layers.0.attn.to_q": (4, 3),
        "layers.1.attn.to_q": (1, 2),
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"use_dora": True}))
    with pytest.raises(UserError, match="is a DoRA adapter"):
        read_lora(tmp_path)


def test_the_generator_draws_with_it_and_says_so(model: Path, generator: Generator, tmp_path: Path) -> None:
    save_lora(adapted(), tmp_path / "style")
    styled = Generator.from_folder(model)
    styled.load_lora(tmp_path / "style")
    settings = {"height": 32, "width": 32, "steps": 1, "seed": 0}
    picture, plain = (g("a", **settings).pictures[0] for g in (styled, generator))
    assert picture.adapters == ("style",)
    assert picture.image.tobytes() != plain.image.tobytes()


def halves(layer: str, channels: int = 48) -> dict[str, Tensor]:
    return {f"{layer}.lora_A.weight": torch.zeros(2, channels), f"{layer}.lora_B.weight": torch.zeros(48, 2)}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (halves("transformer.layers.9.attn.to_q"), "adapts layers.9.attn.to_q, which the transformer lacks"),
        (halves(LAYER, 32), "maps 32 to 48 channels, the transformer's 48 to 48"),
        ({"x_embedder.weight": torch.zeros(2)}, r"has the key x_embedder.weight\n  expected a LoRA adapter"),
        ({f"{LAYER}.lora_A.weight": torch.zeros(2, 48)}, "has only lora_A of layers.0.attn.to_q"),
    ],
)
def test_files_of_something_else_are_refused(tensors: dict[str, Tensor], message: str, tmp_path: Path) -> None:
    save_file(tensors, tmp_path / "pytorch_lora_weights.safetensors")
    with pytest.raises(UserError, match=message):
        load_lora(tiny_transformer(), tmp_path)


@pytest.mark.parametrize(("name", "message"), [(".", "has neither pytorch_lora_weights.saf.* nor"), ("no", "does not")])
def test_folders_without_an_adapter_are_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        load_lora(tiny_transformer(), tmp_path / name)
