"""The diffusion transformer and its parts."""

from omnigen2.dit import variants
from omnigen2.dit.attention import Attention
from omnigen2.dit.backends import AttentionBackend, Borders, attend
from omnigen2.dit.block import Block, ModulatedBlock
from omnigen2.dit.config import TransformerConfig
from omnigen2.dit.embedding import TextEmbedder, TimeEmbedder
from omnigen2.dit.feed_forward import SwiGLU
from omnigen2.dit.model import BlockGroup, Condition, DiffusionTransformer, Inputs
from omnigen2.dit.modulation import Modulation, OutputLayer, ScaleGate
from omnigen2.dit.patch import patchify, unpatchify

__all__ = [
    "Attention",
    "AttentionBackend",
    "Block",
    "BlockGroup",
    "Borders",
    "Condition",
    "DiffusionTransformer",
    "Inputs",
    "ModulatedBlock",
    "Modulation",
    "OutputLayer",
    "ScaleGate",
    "SwiGLU",
    "TextEmbedder",
    "TimeEmbedder",
    "TransformerConfig",
    "attend",
    "patchify",
    "unpatchify",
    "variants",
]
