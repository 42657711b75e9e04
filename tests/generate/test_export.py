"""Trained weights from any file to the released layout, and files that are not opened."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from omnigen2.adapters import LoRA, add_lora, merge_lora, save_lora
from omnigen2.dit import DiffusionTransformer, released_key
from omnigen2.dit.checkpoint import load_transformer
from omnigen2.generate import GenerateError, Generator
from omnigen2.generate.export import export_model
from omnigen2.generate.tiny import tiny_transformer
from tests.adapters.cases import train, velocity


def same(first: DiffusionTransformer, second: DiffusionTransformer) -> bool:
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def write(kind: str, folder: Path, dit: DiffusionTransformer) -> Path:
    """The weights as different programs leave them behind."""
    ours = {name: tensor.clone() for name, tensor in dit.state_dict().items()}
    released = {released_key(name): tensor for name, tensor in ours.items()}
    path = folder / {"lightning": "last.ckpt", "compiled": "last.ckpt", "official": "pytorch_model.bin"}.get(
        kind, "weights.safetensors"
    )
    match kind:
        case "lightning":
            extra = {"vlm.embedding.weight": torch.zeros(2)}
            state = {f"model.dit.{name}": tensor for name, tensor in ours.items()} | extra
            torch.save({"state_dict": state, "epoch": 3, "hyper_parameters": {"lr": 1e-4}}, path)
        case "compiled":
            torch.save({"state_dict": {f"dit._orig_mod.{name}": tensor for name, tensor in ours.items()}}, path)
        case "checkpointed":
            inside = {name.replace("attn.", "_checkpoint_wrapped_module.attn."): one for name, one in released.items()}
            save_file({f"module._fsdp_wrapped_module.{name}": one for name, one in inside.items()}, path)
        case "official":
            torch.save(released, path)
        case _:
            save_file(released, path)
    return path


@pytest.mark.parametrize("kind", ["lightning", "compiled", "checkpointed", "official", "safetensors"])
def test_every_file_becomes_a_model_folder(kind: str, model: Path, tmp_path: Path) -> None:
    trained = tiny_transformer(seed=9)
    out = tmp_path / "out"
    export_model(write(kind, tmp_path, trained), model, out)
    assert same(load_transformer(out / "transformer"), trained)
    picture = Generator.from_folder(out)("a", height=16, width=16, steps=1, seed=0).pictures[0]
    assert picture.model == "out"


def test_a_folder_is_written_over_itself(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "own")
    trained = tiny_transformer(seed=9)
    export_model(write("safetensors", tmp_path, trained), tmp_path / "own", tmp_path / "own", overwrite=True)
    assert same(load_transformer(tmp_path / "own" / "transformer"), trained)
    assert Generator.from_folder(tmp_path / "own")("a", height=16, width=16, steps=1, seed=0).pictures


def test_a_folder_with_an_adapter_and_another_dtype(model: Path, tmp_path: Path) -> None:
    adapted = load_transformer(model / "transformer")
    add_lora(adapted, LoRA(rank=2))
    train(adapted)
    save_lora(adapted, tmp_path / "lora")
    for source in (model, model / "transformer"):
        out = tmp_path / source.name
        export_model(source, model, out, lora=tmp_path / "lora", transformer_only=True)
        assert [path.name for path in out.iterdir()] == ["transformer"]
        torch.testing.assert_close(velocity(load_transformer(out / "transformer")), velocity(adapted))
    merge_lora(adapted)
    export_model(model, model, tmp_path / "half", lora=tmp_path / "lora", dtype=torch.bfloat16, transformer_only=True)
    assert same(load_transformer(tmp_path / "half" / "transformer"), adapted.to(torch.bfloat16))


def test_nothing_is_overwritten_unasked(model: Path, tmp_path: Path) -> None:
    export_model(model, model, tmp_path)
    with pytest.raises(GenerateError, match="has transformer, vae, mllm, processor, scheduler already"):
        export_model(model, model, tmp_path)
    trained = tiny_transformer(seed=2)
    export_model(write("official", tmp_path, trained), model, tmp_path, overwrite=True)
    assert same(load_transformer(tmp_path / "transformer"), trained)


class TestRefusals:
    def refused(self, weights: dict[str, torch.Tensor], model: Path, tmp_path: Path, **options: Any) -> str:
        save_file(weights, tmp_path / "w.safetensors")
        with pytest.raises(GenerateError) as error:
            export_model(tmp_path / "w.safetensors", model, tmp_path / "out", **options)
        assert not (tmp_path / "out").exists()
        return str(error.value)

    def test_other_weights(self, model: Path, tmp_path: Path) -> None:
        assert "hold no transformer\n" in self.refused({"a": torch.zeros(1)}, model, tmp_path)

    def test_missing_unexpected_and_misshaped(self, model: Path, tmp_path: Path) -> None:
        ours = {name: tensor.clone() for name, tensor in tiny_transformer().state_dict().items()}
        lacking = {name: tensor for name, tensor in ours.items() if not name.startswith("blocks.1.")}
        assert "the weights lack blocks.1." in self.refused(lacking, model, tmp_path)
        assert "also have extra" in self.refused({**ours, "extra": torch.zeros(1)}, model, tmp_path)
        ours["text_embedder.norm.weight"] = torch.zeros(3)
        assert "text_embedder.norm.weight has shape (3,), the base implies (64,)" in self.refused(ours, model, tmp_path)

    def test_adapters_inside(self, model: Path, tmp_path: Path) -> None:
        dit = tiny_transformer()
        add_lora(dit, LoRA())
        state = {name: tensor.clone() for name, tensor in dit.state_dict().items()}
        assert "hold LoRA layers, such as" in self.refused(state, model, tmp_path)

    def test_two_transformers_need_a_prefix(self, model: Path, tmp_path: Path) -> None:
        policy, reference = tiny_transformer(1), tiny_transformer(2)
        both = {
            f"{who}.{name}": tensor.clone()
            for who, dit in (("policy", policy), ("reference", reference))
            for name, tensor in dit.state_dict().items()
        }
        assert "behind 'policy.', 'reference.'" in self.refused(both, model, tmp_path)
        export_model(tmp_path / "w.safetensors", model, tmp_path / "out", prefix="policy.", transformer_only=True)
        assert same(load_transformer(tmp_path / "out" / "transformer"), policy)
