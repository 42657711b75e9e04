"""Small parts for the tests of stages: a module that hands its weights over, and data that go on where they stopped."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor, nn

from omnigen2.runner.keep import read_optimizer
from omnigen2.runner.plan import Plan, Report, Results
from tests.runner.toy_parts import StepLoader


class Linear(LightningModule):
    """A regression without randomness that can start from weights and from the state of an optimizer."""

    def __init__(
        self, lr: float = 0.01, weights: str | None = None, optimizer_state: str | None = None, note: str | None = None
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1)
        self.lr = lr
        self.optimizer_state = optimizer_state
        if note is not None and not Path(note).exists():
            raise ValueError(f"there is no note {note}")
        if weights is not None:
            self.load_state_dict(torch.load(Path(weights) / "linear.pt", weights_only=True))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = (self.linear(batch) - batch.sum(1, keepdim=True)).square().mean()
        self.log("train/loss", loss)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.log("bias", self.linear.bias.item())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr)
        if self.optimizer_state is not None:
            optimizer.load_state_dict(read_optimizer(self.optimizer_state))
        return optimizer

    def save_weights(self, folder: Path) -> None:
        torch.save(self.state_dict(), folder / "linear.pt")


class Weightless(Linear):
    """Hands over, but cannot start from anything."""

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr)


class NoOptimizerState(Linear):
    """Can start from weights but not from the state of an optimizer."""

    def __init__(self, lr: float = 0.01, weights: str | None = None) -> None:
        super().__init__(lr, weights)


class TwoOptimizers(Linear):
    """Trains each parameter with an optimizer of its own."""

    def __init__(self, weights: str | None = None, optimizer_state: str | None = None) -> None:
        super().__init__(0.01, weights)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.manual_backward(loss)
        for optimizer in self.optimizers():  # type: ignore[union-attr]
            optimizer.step()
            optimizer.zero_grad()
        return loss

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD([parameter], lr=0.01) for parameter in self.parameters()]


class Steps(LightningDataModule):
    """The batch of step n is a function of `first` + n."""

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.first = first

    def train_dataloader(self) -> StepLoader:
        return StepLoader(self.batch, 1000)

    def batch(self, step: int) -> Tensor:
        return torch.randn(4, 3, generator=torch.Generator().manual_seed(self.first + step))


class Names(Report):
    """Writes the names of the stages."""

    def __init__(self, title: str = "names") -> None:
        self.title = title

    def write(self, plan: Plan, results: Results) -> None:
        names = ", ".join(run.name for run in results.runs)
        (plan.folder / "report.md").write_text(f"{self.title}: {names}\n")
