"""A small module that trains the transformer, and processes that train it together."""

import importlib
import json
import logging
import os
import socket
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from omnigen2.adapters import LoRA, add_lora
from omnigen2.dit import Inputs
from omnigen2.flow import IdentityShift, RectifiedFlowObjective, UniformTimes
from omnigen2.generate.tiny import CONFIG, tiny_transformer
from omnigen2.layout import ImageSegment, Layout, TextSegment
from omnigen2.shards import is_first_process, local_part, whole
from omnigen2.training.callbacks.ema import EMA
from omnigen2.training.parts.loader import StepLoader
from omnigen2.training.parts.parallel import shard_transformer
from tests.paths import ROOT

Example = tuple[Layout, dict[str, Tensor]]


def example(number: int) -> Example:
    """Sample number n alone: its own sizes, noise, data and time."""
    generator = torch.Generator().manual_seed(number)
    text, height, width = 3 + number % 3, 2 + number % 2, 2 + number % 4
    layout = Layout(
        ((TextSegment(text), ImageSegment(2, 2, "reference"), ImageSegment(height, width, "target")),),
    )

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    tokens, channels = height * width, CONFIG.patch_channels
    return layout, {
        "text": draw(text, CONFIG.text_dim),
        "references": draw(4, channels),
        "noise": draw(tokens, channels),
        "data": draw(tokens, channels),
        "t": torch.rand(1, generator=generator),
    }


def batch(step: int) -> Example:
    """The samples of this process out of the four of a step."""
    world, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    share = 4 // world
    parts = [example(4 * step + rank * share + number) for number in range(share)]
    layout = Layout(tuple(sample for part, _ in parts for sample in part.batch))
    return layout, {key: torch.cat([tensors[key] for _, tensors in parts]) for key in parts[0][1]}


class FlowNet(LightningModule):
    """The tiny transformer and a frozen neighbour; remembers losses, first gradients and what validation saw."""

    def __init__(self, lora: LoRA | None = None, noisy: bool = False, adam: bool = False) -> None:
        super().__init__()
        self.frozen = nn.Linear(2, 2, bias=False).requires_grad_(False)
        nn.init.eye_(self.frozen.weight)
        self.dit = tiny_transformer()
        if lora is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                add_lora(self.dit, lora)
        self.objective = RectifiedFlowObjective(UniformTimes(), IdentityShift())
        self.noisy = noisy
        self.adam = adam
        self.losses: list[float] = []
        self.validated: list[float] = []
        self.gradients: dict[str, Tensor] = {}

    def transfer_batch_to_device(self, batch: Example, device: torch.device, dataloader_idx: int) -> Example:
        return batch  # Lightning's own way refuses frozen data classes, such as a layout

    def configure_model(self) -> None:
        if self.device_mesh is not None and not hasattr(self.dit, "reshard"):
            shard_transformer(self.dit, self.device_mesh["data_parallel"], "fp32")

    def loss(self, batch: Example) -> Tensor:
        layout, tensors = batch
        targets = layout.segments("target")
        owner = torch.repeat_interleave(torch.arange(len(layout)), torch.tensor(targets.lengths))
        inputs = Inputs(layout, tensors["text"], tensors["references"])
        noise = tensors["noise"]
        if self.noisy:  # processes draw different amounts, so that their states part
            noise = noise + torch.randn(1 + 2 * self.global_rank)[-1]
        model = lambda x_t, t: self.dit(x_t, t, inputs)  # noqa: E731
        return self.objective.at(model, noise, tensors["data"], tensors["t"], owner).loss

    def training_step(self, batch: Example, batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.log("loss", loss, sync_dist=True)
        self.log("mean", loss, on_step=False, on_epoch=True, sync_dist=True, batch_size=1)
        self.losses.append(mean_of_processes(loss))
        return loss

    def validation_step(self, batch: Example, batch_idx: int) -> None:
        self.validated.append(mean_of_processes(self.loss(batch)))

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if not self.gradients:
            self.gradients = gradients_of(self)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(trained, lr=1e-3) if self.adam else torch.optim.SGD(trained, lr=0.1, momentum=0.5)


class Data(LightningDataModule):
    """Epochs of four steps."""

    def train_dataloader(self) -> StepLoader:
        return loader(4)

    def val_dataloader(self) -> StepLoader:
        return loader(1)


def mean_of_processes(loss: Tensor) -> float:
    loss = loss.detach().clone()
    if dist.is_initialized():
        dist.all_reduce(loss)
        loss /= dist.get_world_size()
    return loss.item()


def loader(steps: int = 10) -> StepLoader:
    return StepLoader(batch, steps)


def gradients_of(module: nn.Module) -> dict[str, Tensor]:
    """Whole gradients by name; of sharded ones every process must call it."""
    named = module.named_parameters()
    return {name: whole(local_part(value.grad), value) for name, value in named if value.grad is not None}


def parameters_of(module: nn.Module) -> dict[str, Tensor]:
    """The same of the parameters."""
    return {name: whole(local_part(value), value) for name, value in module.named_parameters()}


def silent_trainer(folder: Path, steps: int, *callbacks: Callback, **settings: Any) -> Trainer:
    """A silent trainer on the CPU, of as many processes as there are."""
    devices = int(os.environ.get("WORLD_SIZE", "1"))
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    settings = silent | {"num_sanity_val_steps": 0, "devices": devices} | settings
    return Trainer(default_root_dir=folder, max_steps=steps, accelerator="cpu", callbacks=list(callbacks), **settings)


def trainer(folder: Path, strategy: Any = "auto", max_steps: int = 3, **settings: Any) -> tuple[Trainer, EMA]:
    settings = {"val_check_interval": 3, "gradient_clip_val": 0.05} | settings
    return silent_trainer(folder, max_steps, ema := EMA(0.8), strategy=strategy, **settings), ema


def outcome(module: FlowNet, ema: EMA) -> dict[str, Any]:
    """Everything that must not depend on the number of processes; every process must call it."""
    found = {name: getattr(module, name) for name in ("losses", "validated", "gradients")}
    return found | {"parameters": parameters_of(module), "average": ema.state_dict()["average"]}


class Launcher:
    """A process that forks pairs of processes: they start at once, and from one that has not used autograd.

    Args:
        folder: Where pairs leave their logs and results.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.training.rank_parts", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            text=True,
        )

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> list[int]:
        """Run a function of a module in two processes; return how each ended: 0, or 9 for killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = [work.__module__, work.__name__, *arguments]
        print(json.dumps(order), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def results(self, work: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
        """Run a function that must end well, and return what its first process returned."""
        assert self(work, *arguments) == [0, 0], self.log()
        return self.result()

    def result(self) -> dict[str, Any]:
        """What the first process of the last pair returned."""
        return torch.load(self.folder / "result.pt", weights_only=True)

    def log(self) -> str:
        """The ends of what both said."""
        return "\n".join((self.folder / f"rank{rank}.log").read_text()[-5000:] for rank in range(2))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def serve(folder: Path) -> None:
    """Fork a pair for every line of the standard input."""
    for line in sys.stdin:
        module, name, *arguments = json.loads(line)
        work = getattr(importlib.import_module(module), name)
        print(json.dumps(in_two_processes(partial(work, *arguments), folder)), flush=True)


def in_two_processes(work: Callable[[], Any], folder: Path, timeout: float = 400) -> list[int]:
    """Fork two processes that find one another as torchrun's do; the status with which each ended (9: killed)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [_fork(work, folder, rank, port) for rank in range(2)]
    status: dict[int, int] = {}
    end = time.monotonic() + timeout
    while len(status) < 2:
        for child in set(children) - set(status):
            done, code = os.waitpid(child, os.WNOHANG)
            if done:
                status[child] = code
        late = time.monotonic() > end
        if late or any(status.values()):  # what one process cannot finish the other waits for in vain
            for child in set(children) - set(status):
                os.kill(child, 9)
        time.sleep(0.02)
    return [status[child] for child in children]


def _fork(work: Callable[[], Any], folder: Path, rank: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    os.environ |= dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank)) | {"GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "test"}
    os.environ |= dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), "2")
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    rank_zero_only.rank = rank
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    with (folder / f"rank{rank}.log").open("a") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            result = work()
            if result is not None and is_first_process():
                torch.save(result, folder / "result.pt")
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)


if __name__ == "__main__":
    torch.set_num_threads(1)
    serve(Path(sys.argv[1]))
