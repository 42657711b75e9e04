"""LoRA adapters: training starts from the identity, files of both layouts, merging, refusals."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from omnigen2.adapters.file import AdapterLayout, read_lora
from omnigen2.adapters.loading import add_lora, load_lora, merge_lora, save_lora
from omnigen2.dit import DiffusionTransformer, Inputs
from omnigen2.dit.checkpoint import load_transformer, save_transformer
from omnigen2.generate import Generator
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.tiny import CONFIG, tiny_transformer
from omnigen2.layout import ImageSegment, Layout, TextSegment

both = pytest.mark.parametrize("layout", ["diffusers", "peft"])


@torch.no_grad()
def velocity(dit: DiffusionTransformer) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    layout = Layout(((TextSegment(5), ImageSegment(2, 2, "reference"), ImageSegment(2, 3, "target")),))

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    inputs = Inputs(layout, draw(5, CONFIG.text_dim), draw(4, CONFIG.patch_channels))
    return dit(draw(6, CONFIG.patch_channels), torch.tensor([0.4]), inputs)


def adapted(rank: int = 3, alpha: float = 5.0) -> DiffusionTransformer:
    """A model with an adapter that has been trained."""
    dit = tiny_transformer()
    add_lora(dit, rank, alpha)
    train(dit)
    return dit


def train(dit: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in dit.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


def test_a_new_adapter_changes_nothing_and_trains_alone() -> None:
    dit = tiny_transformer()
    before = velocity(dit)
    add_lora(dit, rank=2)
    assert torch.equal(velocity(dit), before)
    trained = [name for name, parameter in dit.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)


@both
def test_saving_and_loading_gives_the_same_velocities(layout: AdapterLayout, tmp_path: Path) -> None:
    dit = adapted()
    path = save_lora(dit, tmp_path / "adapter", layout)
    for source in (tmp_path / "adapter", path):
        again = tiny_transformer()
        load_lora(again, source)
        torch.testing.assert_close(velocity(again), velocity(dit))
    assert not torch.allclose(velocity(again), velocity(tiny_transformer()))


@both
def test_files_have_the_released_names_and_only_the_adapter(layout: AdapterLayout, tmp_path: Path) -> None:
    path = save_lora(adapted(), tmp_path, layout)
    prefix = {"diffusers": "transformer.", "peft": "base_model.model."}[layout]
    keys = set(load_file(path))
    assert f"{prefix}layers.0.attn.to_q.lora_A.weight" in keys
    assert f"{prefix}context_refiner.0.attn.to_out.0.lora_B.weight" in keys
    assert len(keys) == 2 * 4 * 5  # four layers in each of two blocks and three refiners


def test_peft_reads_our_configuration(tmp_path: Path) -> None:
    from peft import LoraConfig

    save_lora(adapted(rank=3, alpha=5.0), tmp_path, "peft")
    config = LoraConfig.from_pretrained(str(tmp_path))
    assert (config.r, config.lora_alpha) == (3, 5)
    assert "layers.0.attn.to_q" in config.target_modules


def test_diffusers_reads_our_metadata(tmp_path: Path) -> None:
    from diffusers.loaders.lora_base import _fetch_state_dict
    from peft import LoraConfig

    save_lora(adapted(rank=3, alpha=5.0), tmp_path)
    tensors, metadata = _fetch_state_dict(
        str(tmp_path),
        weight_name="pytorch_lora_weights.safetensors",
        use_safetensors=True,
        local_files_only=True,
        cache_dir=None,
        force_download=False,
        proxies=None,
        token=None,
        revision=None,
        subfolder=None,
        user_agent={},
        allow_pickle=False,
    )
    config = LoraConfig(**{key.removeprefix("transformer."): value for key, value in metadata.items()})
    assert (config.r, config.lora_alpha) == (3, 5)
    assert len(tensors) == 40


def test_merging_keeps_the_velocities_and_the_names() -> None:
    dit = adapted()
    expected, names = velocity(dit), set(tiny_transformer().state_dict())
    merge_lora(dit)
    torch.testing.assert_close(velocity(dit), expected)
    assert set(dit.state_dict()) == names
    add_lora(dit)
    torch.testing.assert_close(velocity(dit), expected)


def test_a_merged_model_saves_and_loads(tmp_path: Path) -> None:
    dit = adapted()
    merge_lora(dit)
    save_transformer(dit, tmp_path)
    torch.testing.assert_close(velocity(load_transformer(tmp_path)), velocity(dit))


def test_scale_and_two_adapters_add_up(tmp_path: Path) -> None:
    save_lora(adapted(), tmp_path)
    twice, double = tiny_transformer(), tiny_transformer()
    load_lora(twice, tmp_path, "first")
    load_lora(twice, tmp_path, "second")
    load_lora(double, tmp_path, scale=2.0)
    torch.testing.assert_close(velocity(twice), velocity(double))
    none = tiny_transformer()
    load_lora(none, tmp_path, scale=0.0)
    torch.testing.assert_close(velocity(none), velocity(tiny_transformer()))


def test_different_ranks_and_rank_stabilised_scaling(tmp_path: Path) -> None:
    """A PEFT folder by somebody else: patterns for one layer, alpha over the root of the rank."""
    tensors = {}
    for layer, rank in (("layers.0.attn.to_q", 4), ("layers.1.attn.to_q", 1)):
        tensors[f"base_model.model.{layer}.lora_A.weight"] = torch.randn(rank, 48)
        tensors[f"base_model.model.{layer}.lora_B.weight"] = torch.randn(48, rank)
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    config = {"r": 4, "lora_alpha": 6, "alpha_pattern": {"layers.1.attn.to_q": 2}, "use_rslora": True}
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


def test_the_generator_draws_with_it_and_says_so(model: Path, generator: Generator, tmp_path: Path) -> None:
    save_lora(adapted(), tmp_path / "style")
    styled = Generator.from_folder(model)
    styled.load_lora(tmp_path / "style")
    settings = {"height": 32, "width": 32, "steps": 1, "seed": 0}
    picture, plain = (g("a", **settings).pictures[0] for g in (styled, generator))
    assert picture.adapters == ("style",)
    assert picture.image.tobytes() != plain.image.tobytes()


class TestRefusals:
    def write(self, folder: Path, tensors: dict[str, Tensor]) -> Path:
        save_file(tensors, folder / "pytorch_lora_weights.safetensors")
        return folder

    def pair(self, layer: str, channels: int = 48) -> dict[str, Tensor]:
        return {f"{layer}.lora_A.weight": torch.zeros(2, channels), f"{layer}.lora_B.weight": torch.zeros(48, 2)}

    def test_another_model(self, tmp_path: Path) -> None:
        with pytest.raises(GenerateError, match="adapts layers.9.attn.to_q, which the transformer lacks"):
            load_lora(tiny_transformer(), self.write(tmp_path, self.pair("transformer.layers.9.attn.to_q")))

    def test_another_size(self, tmp_path: Path) -> None:
        with pytest.raises(GenerateError, match="maps 32 to 48 channels, the transformer's 48 to 48"):
            load_lora(tiny_transformer(), self.write(tmp_path, self.pair("transformer.layers.0.attn.to_q", 32)))

    def test_no_adapter(self, tmp_path: Path) -> None:
        with pytest.raises(GenerateError, match="has the key x_embedder.weight\nexpected a LoRA adapter"):
            load_lora(tiny_transformer(), self.write(tmp_path, {"x_embedder.weight": torch.zeros(2)}))

    def test_half_an_adapter(self, tmp_path: Path) -> None:
        half = {"transformer.layers.0.attn.to_q.lora_A.weight": torch.zeros(2, 48)}
        with pytest.raises(GenerateError, match="has only lora_A of layers.0.attn.to_q"):
            load_lora(tiny_transformer(), self.write(tmp_path, half))

    def test_an_empty_folder_and_none(self, tmp_path: Path) -> None:
        with pytest.raises(GenerateError, match="has neither pytorch_lora_weights.safetensors nor"):
            load_lora(tiny_transformer(), tmp_path)
        with pytest.raises(GenerateError, match="does not exist"):
            load_lora(tiny_transformer(), tmp_path / "no")

    def test_unknown_targets_and_missing_adapters(self, tmp_path: Path) -> None:
        with pytest.raises(GenerateError, match="no layer's name ends in to_x"):
            add_lora(tiny_transformer(), targets=("to_x",))
        with pytest.raises(GenerateError, match="has no adapter 'default'"):
            save_lora(tiny_transformer(), tmp_path)
