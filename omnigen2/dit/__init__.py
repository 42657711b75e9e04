"""The diffusion transformer and its parts."""

from omnigen2.dit import variants
from omnigen2.dit.attention import Attention
from omnigen2.dit.backends import AttentionBackend, Borders, attend
from omnigen2.dit.block import Block, ModulatedBlock, SwiGLU
from omnigen2.dit.checkpoint import load_transformer, save_transformer
from omnigen2.dit.config import TransformerConfig
from omnigen2.dit.embedding import TextEmbedder, TimeEmbedder
from omnigen2.dit.flops import forward_flops
from omnigen2.dit.model import BlockGroup, Condition, DiffusionTransformer, Inputs
from omnigen2.dit.modulation import Modulation, OutputLayer, ScaleGate
from omnigen2.dit.patch import patchify, segment, unpatchify
from omnigen2.dit.released import model_from_config, read_config, released_config, released_key
from omnigen2.dit.variants import MICRO, TOY

__all__ = [
    "MICRO", "TOY", "Attention", "AttentionBackend", "Block", "BlockGroup", "Borders", "Condition",
    "DiffusionTransformer", "Inputs", "ModulatedBlock", "Modulation", "OutputLayer", "ScaleGate", "SwiGLU",
    "TextEmbedder", "TimeEmbedder", "TransformerConfig", "attend", "forward_flops", "load_transformer",
    "model_from_config", "patchify", "read_config", "released_config", "released_key", "save_transformer", "segment",
    "unpatchify", "variants",
]  # fmt: skip
