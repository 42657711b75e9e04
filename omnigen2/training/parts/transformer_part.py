"""The transformer as a part of a recipe: its sizes or its weights, and how it is run."""

import json
from dataclasses import dataclass, fields
from pathlib import Path

import torch

from omnigen2.adapters import LoRA, add_lora
from omnigen2.dit import (
    AttentionBackend,
    BlockGroup,
    DiffusionTransformer,
    TransformerConfig,
    load_transformer,
    model_from_config,
)
from omnigen2.errors import UserError
from omnigen2.rope import PositionScheme
from omnigen2.training.parts.parallel import compile_blocks

TRANSFORMER = "transformer"
"""Folder of the transformer in the released layout."""


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
        lora: Adapters that are trained instead of the weights.
    """

    config: TransformerConfig | None = None
    positions: PositionScheme | None = None
    backend: AttentionBackend = "auto"
    checkpointing: tuple[BlockGroup, ...] = ()
    compile: bool = False
    lora: LoRA | None = None

    def build(self, weights: str | None) -> DiffusionTransformer:
        """Make the transformer in float32, with adapters if there are to be any.

        Args:
            weights: A model folder with `transformer/`; None for new weights. Under `torch.device("meta")` no weights
                are read, only the sizes.

        Raises:
            WeightsError: If there are neither sizes nor weights, or the weights have other sizes.
        """
        if weights is None:
            if self.config is None:
                raise WeightsError(
                    "the transformer has neither a config nor weights; set model.init_args.weights to a model folder, "
                    "or model.init_args.transformer.config to its sizes"
                )
            model = DiffusionTransformer(self.config, self.positions, self.backend)
        elif torch.get_default_device().type == "meta":
            model = self._sizes(Path(weights))
        else:
            model = self._load(Path(weights))
        model.checkpointing = frozenset(self.checkpointing)
        if self.lora is not None:
            add_lora(model, self.lora)
        if self.compile:
            compile_blocks(model)
        return model

    def _sizes(self, weights: Path) -> DiffusionTransformer:
        if self.config is not None:
            return DiffusionTransformer(self.config, self.positions, self.backend)
        config = json.loads((_folder(weights) / "config.json").read_text(encoding="utf-8"))
        return model_from_config(config, self.positions, self.backend)

    def _load(self, weights: Path) -> DiffusionTransformer:
        folder = _folder(weights)
        model = load_transformer(folder, dtype=torch.float32, positions=self.positions, backend=self.backend)
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
        raise WeightsError(
            f"the weights {weights} have no {TRANSFORMER}/ (found: {there or 'nothing'}); give the folder "
            "`weights` of a finished run, or a model folder in the released layout"
        )
    return folder


def _differences(found: TransformerConfig, expected: TransformerConfig) -> list[str]:
    # the gates' bias is a matter of new weights, not of sizes
    names = [field.name for field in fields(expected) if field.name != "gate_bias"]
    pairs = [(name, getattr(found, name), getattr(expected, name)) for name in names]
    return [f"{name} {got}, expected {wanted}" for name, got, wanted in pairs if got != wanted]
