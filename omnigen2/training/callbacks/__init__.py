"""What watches a training: averages, guards, speed, sheets of samples."""

from omnigen2.training.callbacks.beside import beside_training
from omnigen2.training.callbacks.ema import EMA
from omnigen2.training.callbacks.guards import NonFiniteGuard
from omnigen2.training.callbacks.samples import GridItem, SampleGrid
from omnigen2.training.callbacks.threads import Threads
from omnigen2.training.callbacks.throughput import Throughput, log_now
from omnigen2.training.callbacks.time_bins import LossByTime

__all__ = [
    "EMA", "GridItem", "LossByTime", "NonFiniteGuard", "SampleGrid", "Threads", "Throughput", "beside_training",
    "log_now",
]  # fmt: skip
