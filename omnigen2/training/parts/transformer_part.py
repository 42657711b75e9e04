"""The transformer as a part of a recipe: its sizes or its weights, and how it is run."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from omnigen2.adapters import LoRA, add_lora, load_lora
from omnigen2.dit import (
    AttentionBackend,
    BlockGroup,
    DiffusionTransformer,
    TransformerConfig,
    load_transformer,
    model_from_config,
)
from omnigen2.errors import UserError, check_choice
from omnigen2.quantize import check_quantization, quantize
from omnigen2.rope import PositionScheme
from omnigen2.training.parts.parallel import compile_blocks

TRANSFORMER = "transformer"
"""Folder of the transformer in the released layout."""
Base: TypeAlias = Literal["float32", "bfloat16", "int8", "nf4"]
"""How weights are stored that adapters are trained beside; the last two are the matrices of the blocks, see
`omnigen2.quantize`, with everything else in bfloat16."""
KEPT = ("modulation",)
"""Layers of blocks that are not quantised: the time acts on every token by them."""
ADAPTER = "adapter"
"""Folder of the adapters that a run leaves, in its `weights/`."""


class WeightsError(UserError):
    """A recipe's transformer cannot be built from what it names."""


@dataclass(frozen=True)
class TransformerPart:
    """What a recipe says about the transformer.

    Attributes:
        config: Its sizes; None takes those of the weights that a run starts from.
        positions: Where tokens stand; Omni-RoPE, or what the weights were trained with, if None.
        backend: Attention kernel, see `omnigen2.dit.attend`.
        checkpointing: Groups of blocks whose activations are computed again in the backward pass.
        compile: Whether each block is compiled.
        lora: Adapters that are trained instead of the weights. Where a run starts from an adapter, None takes its rank
            and layers.
        base: How the frozen weights beside adapters are stored.
    """

    config: TransformerConfig | None = None
    positions: PositionScheme | None = None
    backend: AttentionBackend = "auto"
    checkpointing: tuple[BlockGroup, ...] = ()
    compile: bool = False
    lora: LoRA | None = None
    base: Base = "float32"

    def build(self, weights: str | None, adapter: str | None = None) -> DiffusionTransformer:
        """Make the transformer, in float32 unless its base is to be smaller, with adapters if there are to be any.

        Args:
            weights: A model folder with `transformer/`; None for new weights. Under `torch.device("meta")` no weights
                are read, only the sizes.
            adapter: A trained adapter, as `omnigen2.adapters.read_lora` reads it, to go on from; None for new ones.

        Raises:
            WeightsError: If there are neither sizes nor weights, or the weights have other sizes, or the adapter others
                than `lora` says, or nothing would be trained in float32.
        """
        self.check_base(adapter is not None)
        if weights is None:
            model = DiffusionTransformer(self._config(), self.positions, self.backend)
        elif torch.get_default_device().type == "meta":
            model = self._sizes(Path(weights))
        else:
            model = self._load(Path(weights))
        if self.base != "float32":
            quantize(model, "none" if self.base == "bfloat16" else self.base, KEPT, dtype=torch.bfloat16)
        model.checkpointing = frozenset(self.checkpointing)
        if adapter is not None:
            self._continue(model, adapter)
        elif self.lora is not None:
            add_lora(model, self.lora)
        if self.compile:
            compile_blocks(model)
        return model

    def check_base(self, goes_on: bool, saved: str = "transformer", devices: int = 1) -> None:
        """Refuse a base that the rest of a recipe does not go with.

        Args:
            goes_on: Whether the run starts from an adapter.
            saved: What it leaves, see `omnigen2.training.parts.Saved`.
            devices: That train together.

        Raises:
            WeightsError: If there are no adapters, or they were added to quantised weights, or spread over devices.
        """
        check_choice("base of the transformer", self.base, Base)
        if self.base == "float32":
            return
        what = f"model.init_args.transformer.base is {self.base}"
        if self.lora is None and not goes_on:
            raise WeightsError(f"{what}, but weights are trained in float32", "add transformer.lora, or leave base out")
        if devices > 1:
            raise WeightsError(f"{what}, which one device trains beside, not {devices}", "set trainer.devices: 1")
        if self.base == "bfloat16":
            return
        check_quantization(self.base)
        if saved == "merged":
            raise WeightsError(f"{what}, to which adapters cannot be added at the end", "set saved: transformer")

    def _continue(self, model: DiffusionTransformer, adapter: str) -> None:
        """Add a trained adapter, to be trained further.

        Raises:
            WeightsError: If `lora` asks for another one.
        """
        load_lora(model, adapter, in_float32=True)
        found = adapted_layers(model)
        if (lora := self.lora) is None:
            return
        linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and ".lora_" not in name]
        names = {name.removesuffix(".base_layer") for name in linear}
        wanted = {name for name in names if any(f".{name}".endswith(f".{target}") for target in lora.targets)}
        scaling = (lora.rank if lora.alpha is None else lora.alpha) / lora.rank
        remedy = "leave model.init_args.transformer.lora out to take rank, alpha and layers from the adapter"
        if differing := sorted(wanted ^ found.keys()):
            where = "in the adapter" if differing[0] in found else "among the recipe's targets"
            number = f"{len(differing)} such layers"
            raise WeightsError(f"{differing[0]} is only {where} ({number}; the adapter is {adapter})", remedy)
        for name, layer in found.items():
            (key,) = layer.lora_A
            got = int(layer.r[key]), float(layer.scaling[key])
            if got[0] != lora.rank or abs(got[1] - scaling) > 1e-6 * scaling:
                raise WeightsError(
                    f"{name} has rank {got[0]} and alpha {got[1] * got[0]:g} in {adapter}, and rank {lora.rank} and "
                    f"alpha {scaling * lora.rank:g} in the recipe",
                    remedy,
                )
            if lora.dropout:
                layer.lora_dropout[key] = nn.Dropout(lora.dropout)

    def sizes(self, weights: str | None) -> TransformerConfig:
        """The sizes that `build` comes to, without reading weights.

        Raises:
            WeightsError: If there are neither sizes nor weights.
        """
        with torch.device("meta"):
            if self.config is None and weights is not None:
                return self._sizes(Path(weights)).config
        return self._config()

    def _config(self) -> TransformerConfig:
        if self.config is None:
            raise WeightsError(
                "the transformer has neither a config nor weights; set model.init_args.weights to a model folder, "
                "or model.init_args.transformer.config to its sizes"
            )
        return self.config

    def _sizes(self, weights: Path) -> DiffusionTransformer:
        if self.config is not None:
            return DiffusionTransformer(self.config, self.positions, self.backend)
        config = json.loads((_folder(weights) / "config.json").read_text(encoding="utf-8"))
        return model_from_config(config, self.positions, self.backend)

    def _load(self, weights: Path) -> DiffusionTransformer:
        folder = _folder(weights)
        dtype = torch.float32 if self.base == "float32" else None  # what is stored is converted layer by layer
        model = load_transformer(folder, dtype=dtype, positions=self.positions, backend=self.backend)
        differing = [] if self.config is None else _differences(model.config, self.config)
        if differing:
            raise WeightsError(
                f"{folder} has other sizes than the recipe: {'; '.join(differing)}; leave transformer.config out to "
                "take those of the weights"
            )
        return model


def _folder(weights: Path) -> Path:
    folder = weights / TRANSFORMER
    if not folder.is_dir():
        there = ", ".join(sorted(path.name for path in weights.iterdir())) if weights.is_dir() else "no such folder"
        remedy = "give the folder `weights` of a finished run, or a model folder in the released layout"
        if (weights / ADAPTER).is_dir():
            remedy += f"\nto go on from its adapter: model.init_args.adapter: {weights / ADAPTER}, and as weights the "
            remedy += "model that it was trained on"
        raise WeightsError(f"the weights {weights} have no {TRANSFORMER}/ (found: {there or 'nothing'})", remedy)
    return folder


def adapted_layers(model: nn.Module) -> dict[str, Any]:
    """The layers of a transformer that have adapters, as PEFT wraps them, by name."""
    return {name: part for name, part in model.named_modules() if hasattr(part, "lora_A")}


def _differences(found: TransformerConfig, expected: TransformerConfig) -> list[str]:
    # the gates' bias is a matter of new weights, not of sizes
    names = [field.name for field in fields(expected) if field.name != "gate_bias"]
    pairs = [(name, getattr(found, name), getattr(expected, name)) for name in names]
    return [f"{name} {got}, expected {wanted}" for name, got, wanted in pairs if got != wanted]
