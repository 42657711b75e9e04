"""What somebody else wrote for Lightning: a module, its data and a callback. It imports nothing of this library."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

Batch = list[Tensor]


class Digits(LightningDataModule):
    """The handwritten digits of scikit-learn: a part to train on, one to validate on, one to test on."""

    def __init__(self, batch_size: int = 100, train: int = 300) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.batch_size = batch_size
        self.train = train

    def setup(self, stage: str) -> None:
        found: Any = load_digits()
        pictures, numbers = torch.tensor(found.data / 16, dtype=torch.float32), torch.tensor(found.target)
        self.parts = [
            TensorDataset(pictures[begin:end], numbers[begin:end])
            for begin, end in ((0, self.train), (1000, 1200), (1200, 1500))
        ]

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts[0], self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts[1], self.batch_size)

    def test_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.parts[2], self.batch_size)


class Classifier(LightningModule):
    """Two layers with dropout."""

    def __init__(self, width: int = 16, lr: float = 0.01, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["activation"])
        hidden = activation or nn.ReLU()
        self.layers = nn.Sequential(nn.Linear(64, width), hidden, nn.Dropout(0.1), nn.Linear(width, 10))
        self.lr = lr

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = functional.cross_entropy(self(batch[0]), batch[1])
        self.log("train_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure("val", batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._measure("test", batch)

    def _measure(self, name: str, batch: Batch) -> None:
        scores = self(batch[0])
        self.log(f"{name}_loss", functional.cross_entropy(scores, batch[1]))
        self.log(f"{name}_accuracy", (scores.argmax(1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), self.lr)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)]


class ByHand(Classifier):
    """Steps two optimizers itself, and asks its hyperparameters for everything."""

    def __init__(self, width: int = 16, lr: float = 0.01, tag: str = "") -> None:
        super().__init__(width, lr)
        self.save_hyperparameters()
        self.automatic_optimization = False

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        optimizers: Any = self.optimizers()
        for optimizer in optimizers:
            optimizer.zero_grad()
        self.manual_backward(loss)
        for optimizer in optimizers:
            optimizer.step()
        self.log("rate", self.hparams["lr"])
        return loss

    def configure_optimizers(self) -> Any:
        first, last = self.layers[0], self.layers[3]
        return [torch.optim.Adam(layer.parameters(), self.hparams["lr"]) for layer in (first, last)]


class Resumable(Classifier):
    """The same, after its author has read how stages hand weights on: one method and one argument."""

    def __init__(self, width: int = 16, lr: float = 0.01, weights: str | None = None) -> None:
        super().__init__(width, lr)
        if weights is not None:
            self.load_state_dict(torch.load(Path(weights) / "state.pt", weights_only=True))

    def save_weights(self, folder: Path) -> None:
        torch.save(self.state_dict(), folder / "state.pt")


class Counts(Callback):
    """Remembers how many batches it has seen, and logs it."""

    def __init__(self) -> None:
        self.seen = 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *arguments: Any) -> None:
        self.seen += 1
        pl_module.log("batches_seen", float(self.seen))

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seen = state_dict["seen"]


class Untrained(LightningModule):
    """Has forgotten how to train."""

    def __init__(self, width: int = 10) -> None:
        super().__init__()
        self.layer = nn.Linear(64, width)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1)
