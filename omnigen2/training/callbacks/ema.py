"""The exponential moving average of the weights, which validation, sampling and export use."""
# pyright: reportPrivateUsage=false, reportPrivateImportUsage=false
# (torch has no public operations on lists of tensors)

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from typing_extensions import override

from omnigen2.shards import is_first_process, local_part, part_of, reshard, whole


class EMA(Callback):
    """Averages the trainable parameters: after every update, `average = decay * average + (1 - decay) * weights`.

    Frozen parameters are neither copied nor stored. The average is float32 whatever the dtype of the weights, and
    under FSDP2 each process averages its own shards. While Lightning validates, tests or predicts, the parameters hold
    the average, and afterwards their own values again, bit for bit, also if it failed. `applied` does the same
    wherever else the average is wanted.

    Every `fit` starts a new average at the weights that it finds, after a checkpoint or a stage before was
    loaded, or goes on with that of the checkpoint it resumes from. A parameter that becomes trainable later is
    averaged from then on. Without any training before, validation and test see the weights as they are.

    Args:
        decay: Between 0 and 1, both excluded. Half of the average is from the last log(0.5) / log(decay) updates:
            6931 for 0.9999.
        update_every_n_steps: Optimizer steps between two updates, at least 1. The decay is that of one update.
        warm_up: Whether the first updates decay faster, by `min(decay, (1 + n) / (10 + n))` for update number n
            (from 0), so that the initial weights are forgotten in short runs too.

    Example:
        >>> from lightning.pytorch import Trainer
        >>> trainer = Trainer(callbacks=[EMA(decay=0.999)], logger=False, enable_checkpointing=False)
    """

    copies = 1
    """Of the trainable parameters, in float32: what a dry run counts."""

    def __init__(self, decay: float = 0.9999, update_every_n_steps: int = 1, warm_up: bool = True) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay must be between 0 and 1, both excluded, got {decay}")
        if update_every_n_steps < 1:
            raise ValueError(f"update_every_n_steps must be at least 1, got {update_every_n_steps}")
        self.decay = decay
        self.update_every_n_steps = update_every_n_steps
        self.warm_up = warm_up
        self.updates = 0
        self._module: LightningModule | None = None  # the one that is averaged
        self._average: dict[str, Tensor] = {}  # the local part of each parameter
        self._restored: Mapping[str, Tensor] | None = None  # whole tensors, until the parameters are in their place
        self._weights: dict[str, Tensor] = {}  # the parameters' own values while the average is in their place
        self._depth = 0
        self._swapped_by_loop = False
        self._step = 0

    def decay_of(self, update: int) -> float:
        """The decay of an update, by its number from 0."""
        return min(self.decay, (1 + update) / (10 + update)) if self.warm_up else self.decay

    @contextmanager
    def applied(self, module: LightningModule) -> Generator[None]:
        """Put the average into the parameters for as long as the context lasts; contexts may be nested.

        Under FSDP2 every process must enter it. The optimizer must not step inside.

        Any other module than that which is trained with this callback is left as it is.
        """
        self._enter(module)
        try:
            yield
        finally:
            self._leave()

    @override
    def state_dict(self) -> dict[str, Any]:
        """The number of updates, and the whole averages by name, on the CPU.

        Under FSDP2 every process must call it; those other than the first one, which writes the file, get no averages.
        """
        if self._restored is not None:
            return {"updates": self.updates, "average": dict(self._restored)}
        parameters = _parameters(self._module)
        average: dict[str, Tensor] = {}
        for name, part in self._average.items():
            tensor = whole(part, parameters[name])
            if is_first_process():
                average[name] = tensor
        return {"updates": self.updates, "average": average}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember the averages of a first process, one of any number, until the parameters are needed."""
        self.updates = state_dict["updates"]
        self._restored = state_dict["average"]

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self._forget()

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._forget()

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(pl_module)
        self._step = trainer.global_step

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        before, self._step = self._step, trainer.global_step
        if self._step // self.update_every_n_steps > before // self.update_every_n_steps:
            self.update(pl_module)

    @torch.no_grad()
    def update(self, module: LightningModule) -> None:
        """Move the average towards the weights, once; at the first call it starts there.

        Training calls it; call it only in a loop of your own.
        """
        self._begin(module)
        decay = self.decay_of(self.updates)
        parameters = _parameters(module)
        self._add_trainable(parameters)
        averages = list(self._average.values())
        weights = [local_part(parameters[name]).to(average.dtype) for name, average in self._average.items()]
        if averages:
            torch._foreach_lerp_(averages, weights, 1 - decay)
        self.updates += 1

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING:
            self._begin(pl_module)
        self._swapped_by_loop = True
        self._enter(pl_module)

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._leave_loop()

    on_test_start = on_predict_start = on_validation_start
    on_test_end = on_predict_end = on_validation_end

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._leave_loop()

    @override
    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse to save averaged weights as if they were the trained ones.

        Raises:
            RuntimeError: If the average is in the parameters' place.
        """
        if self._depth:
            raise RuntimeError(
                "a checkpoint was asked for while the averaged weights are in place (in validation, test or "
                "`applied`); save it before or after, for example in on_train_batch_end"
            )

    def _begin(self, module: LightningModule) -> None:
        if self._module is module and self._restored is None:
            return
        if self._restored is None:
            self._forget()
        self._module = module
        reshard(module)
        parameters = _parameters(module)
        with torch.inference_mode(False), torch.no_grad():  # a sanity check may come before the first step
            restored, self._restored = self._restored or {}, None
            _check_fits(restored, parameters)
            self._average = {name: part_of(tensor, parameters[name]) for name, tensor in restored.items()}
            self._add_trainable(parameters)

    def _add_trainable(self, parameters: Mapping[str, Tensor]) -> None:
        for name, parameter in parameters.items():
            if parameter.requires_grad and name not in self._average:
                dtype = torch.promote_types(parameter.dtype, torch.float32)
                self._average[name] = local_part(parameter).to(dtype, copy=True)

    def _forget(self) -> None:
        self.updates = 0
        self._module = None
        self._average = {}
        self._restored = None

    def _leave_loop(self) -> None:
        if self._swapped_by_loop:
            self._swapped_by_loop = False
            self._leave()

    def _enter(self, module: LightningModule) -> None:
        if self._restored is not None:
            self._begin(module)
        self._depth += 1
        if self._depth > 1 or module is not self._module:
            return
        reshard(module)
        parameters = _parameters(module)
        with torch.no_grad():
            for name, average in self._average.items():
                part = local_part(parameters[name])
                self._weights[name] = part.clone()
                part.copy_(average)

    def _leave(self) -> None:
        self._depth -= 1
        module = self._module
        if self._depth or module is None or not self._weights:
            return
        reshard(module)
        parameters = _parameters(module)
        with torch.no_grad():
            for name, weights in self._weights.items():
                local_part(parameters[name]).copy_(weights)
        self._weights = {}


def _parameters(module: LightningModule | None) -> dict[str, Tensor]:
    return {} if module is None else dict(module.named_parameters())


def _check_fits(average: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    for name, tensor in average.items():
        if name not in parameters or parameters[name].shape != tensor.shape:
            got = f"shape {tuple(parameters[name].shape)}" if name in parameters else "no such parameter"
            raise ValueError(
                f"the checkpoint has an average of {name} with shape {tuple(tensor.shape)}, the module has {got}; "
                "resume with the model that the checkpoint was made with"
            )
