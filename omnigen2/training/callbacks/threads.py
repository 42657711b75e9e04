"""How many threads a tiny model deserves."""

import lightning as L
import torch
from typing_extensions import override


class Threads(L.Callback):
    """Lets torch compute with a fixed number of threads while a model trains.

    The toy model's operations are so small that a second thread gains nothing; on a busy machine, where it waits for
    a core while the first one waits for it, a step can take twenty times as long.

    Args:
        number: How many, at least 1.
    """

    def __init__(self, number: int = 1) -> None:
        if number < 1:
            raise ValueError(f"number of threads must be at least 1, got {number}")
        self.number = number
        self._before = number

    @override
    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._before = torch.get_num_threads()
        torch.set_num_threads(self.number)

    @override
    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        torch.set_num_threads(self._before)
