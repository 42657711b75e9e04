"""Stops a run whose loss or gradients are no longer numbers, and says which batch did it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.files import write_json
from omnigen2.runner.keep import committed_checkpoint

FOLDER = "non_finite"
NAMED = 3
"""So many samples are named in the message; the file has them all."""


class NonFiniteError(UserError):
    """A loss or a gradient was infinite or not a number."""


@dataclass(frozen=True)
class _Seen:
    """A number that has to be finite, still where it was computed, and the batches behind it."""

    what: str
    value: Tensor
    step: int
    batches: tuple[Mapping[str, Any], ...]


class NonFiniteGuard(Callback):
    """Stops training on a loss or a gradient norm that is infinite or not a number.

    On the CPU every batch is checked, before its optimizer step changes the weights. On another device each check
    waits for the device, so that the host cannot run ahead of it. There the numbers are gathered and looked at
    together every few batches: in between, weights in memory may be spoilt, but whatever was gathered is checked
    before a checkpoint is written, so that none has spoilt weights. With `every_n_batches=1` a device is as
    exact as the CPU.

    What was found is written to `non_finite/step_<step>.json` in the folder of the run (of several processes, those
    that found it write `non_finite/step_<step>_rank_<rank>.json`). All processes stop together. The last checkpoint
    stays.

    Args:
        gradients: Whether the norm of all gradients is checked too, before clipping. With `16-mixed` it never is:
            the scaler leaves out such steps.
        every_n_batches: Batches between two checks on a device that is not the CPU, at least 1. Each of several
            processes must see the same number of batches.
    """

    def __init__(self, gradients: bool = True, every_n_batches: int = 10) -> None:
        if every_n_batches < 1:
            raise ValueError(f"every_n_batches must be at least 1, got {every_n_batches}")
        self.gradients = gradients
        self.every_n_batches = every_n_batches
        self._gathered: list[_Seen] = []
        self._since_step: list[Mapping[str, Any]] = []
        self._batches = 0

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Remember what the batch is, not the batch itself."""
        self._since_step.append({"batch_idx": batch_idx, **describe_batch(batch)})
        self._batches += 1

    @override
    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        self._see(trainer, "loss", loss.detach(), self._since_step[-1:])

    @override
    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Check the norm of the gradients, which all batches since the last step have made."""
        if self.gradients and trainer.precision != "16-mixed":
            found = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            self._see(trainer, "gradient norm", get_total_norm(found), self._since_step)
        self._since_step.clear()

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Check all that was gathered, so that no checkpoint has spoilt weights."""
        self._check(trainer)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer)

    def _see(self, trainer: Trainer, what: str, value: Tensor, batches: Sequence[Mapping[str, Any]]) -> None:
        full = cast(Any, value).full_tensor() if hasattr(value, "full_tensor") else value
        self._gathered.append(_Seen(what, full.float(), trainer.global_step, tuple(batches)))
        if full.device.type == "cpu" or self._batches % self.every_n_batches == 0:
            self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        if not self._gathered:
            return
        gathered, self._gathered = self._gathered, []
        values = torch.stack([seen.value for seen in gathered]).cpu()
        bad = [seen for seen, finite in zip(gathered, values.isfinite().tolist(), strict=True) if not finite]
        here = bad[0] if bad else None
        if trainer.strategy.reduce_boolean_decision(here is None):
            return
        if here is None:
            raise NonFiniteError(
                f"stopped at step {trainer.global_step}: another process found a number that is not finite; "
                f"its file in {Path(trainer.default_root_dir) / FOLDER} names the batch"
            )
        raise _report(trainer, here)


def describe_batch(batch: Any) -> dict[str, Any]:
    """Say what a batch is without looking at its numbers.

    Of a batch with `examples`, each with `key` (and perhaps `source` and `task`), or with `keys`, it is `samples` with
    a mapping for each; of any other `batch`, its types and shapes.
    """
    if examples := getattr(batch, "examples", None):
        names = ("source", "key", "task")
        return {"samples": [{name: str(getattr(e, name)) for name in names if hasattr(e, name)} for e in examples]}
    keys = batch.get("keys") if isinstance(batch, Mapping) else getattr(batch, "keys", None)
    if isinstance(keys, (list, tuple)):
        return {"samples": [{"key": str(key)} for key in keys]}
    return {"batch": _outline(batch)}


def _outline(value: Any, depth: int = 2) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    name = type(value).__qualname__
    if isinstance(value, (int, float, bool, str)) or value is None:
        return repr(value)[:80]
    if depth == 0 or not isinstance(value, (Mapping, list, tuple)):
        return name
    if isinstance(value, Mapping):
        inner = [f"{key}: {_outline(part, depth - 1)}" for key, part in list(value.items())[:8]]
    else:
        inner = [_outline(part, depth - 1) for part in value[:8]]
    return f"{name}({', '.join(inner)}{', …' if len(value) > 8 else ''})"


def _report(trainer: Trainer, seen: _Seen) -> NonFiniteError:
    """Write the file and word the error."""
    folder = Path(trainer.default_root_dir)
    rank = f"_rank_{trainer.global_rank}" if trainer.world_size > 1 else ""
    path = folder / FOLDER / f"step_{seen.step}{rank}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    value = str(seen.value.item())
    facts = {"what": seen.what, "value": value, "step": seen.step, "rank": trainer.global_rank}
    write_json(path, {**facts, "batches": list(seen.batches)})
    samples = [" ".join(sample.values()) for batch in seen.batches for sample in batch.get("samples", ())]
    outlines = [batch["batch"] for batch in seen.batches if "batch" in batch]
    more = f" and {len(samples) - NAMED} more" if len(samples) > NAMED else ""
    made_of = f"samples {', '.join(samples[:NAMED])}{more}" if samples else ", ".join(outlines)
    numbers = ", ".join(str(batch["batch_idx"]) for batch in seen.batches)
    checkpoint = committed_checkpoint(folder)
    kept = "there is no checkpoint yet" if checkpoint is None else f"the last checkpoint is {checkpoint}"
    return NonFiniteError(
        f"the {seen.what} is {value} at step {seen.step}, rank {trainer.global_rank}, batch {numbers}: {made_of}",
        f"{path} has all of it; {kept}\n"
        "look at these samples; if they are sound, lower the learning rate or clip the gradients",
    )
