"""The experiment behind the paper's RoPE table: copy the k-th of N images."""

from omnigen2.rope_toy.data import ToyData
from omnigen2.rope_toy.module import ToyModule
from omnigen2.rope_toy.report import ToyReport
from omnigen2.rope_toy.sources import Photographs, PlaneWaves, locate

__all__ = ["Photographs", "PlaneWaves", "ToyData", "ToyModule", "ToyReport", "locate"]
