"""The experiment behind the paper's RoPE table: copy the k-th of N images."""

from omnigen2.rope_toy.data import ToyData
from omnigen2.rope_toy.module import ToyModule
from omnigen2.rope_toy.photos import Photographs
from omnigen2.rope_toy.report import ToyReport

__all__ = ["Photographs", "ToyData", "ToyModule", "ToyReport"]
