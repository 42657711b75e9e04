"""A model that draws and has never seen a reference picture, made of one that has."""

from dataclasses import replace

from torch import nn
from typing_extensions import override

from omnigen2.dit import DiffusionTransformer
from omnigen2.training.flow_matching import FlowMatchingModule

GATE_BIAS = 0.5
"""Of new blocks; released layouts of weights do not say what it was."""


class NewReferences(FlowMatchingModule):
    """Trains from weights in which everything that reference pictures alone go through is new: they are noise to it.

    What all tokens share is kept, so it draws as before, and learns to use references in fewer steps than a model that
    never did.
    """

    @override
    def placed(self, transformer: DiffusionTransformer) -> DiffusionTransformer:
        fresh = DiffusionTransformer(replace(transformer.config, gate_bias=GATE_BIAS))
        for name in ("reference_embedder", "reference_refiner", "reference_index"):
            part = getattr(transformer, name, None)
            if isinstance(part, nn.Module):
                part.load_state_dict(getattr(fresh, name).state_dict())
        return super().placed(transformer)
