"""The smallest module that trains, for the tests of callbacks."""

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn


class Line(LightningModule):
    """One linear layer from three channels, whose answer shall be zero."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.linear(batch).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)
