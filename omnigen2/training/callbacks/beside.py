"""Using a model in the middle of its training without a trace."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

import torch
from lightning.pytorch import LightningModule, Trainer

from omnigen2.runner.keep import random_states, set_random_states
from omnigen2.training.callbacks.ema import EMA
from omnigen2.training.callbacks.throughput import Throughput


@contextmanager
def beside_training(trainer: Trainer, module: LightningModule) -> Generator[None]:
    """Draw or evaluate, and leave the modes, the weights, the random states and the clock of training as they were.

    Inside, the module is in evaluation mode and has no gradients, with the averaged weights of the run's `EMA`, if it
    has one; `Throughput` does not count the time. Afterwards, also after an error, each part of the module has the mode
    that it had (frozen parts stay in evaluation mode), and chance goes on where it was. Under FSDP2 every process must
    enter it.
    """
    modes = {part: part.training for part in module.modules()}
    states = random_states()
    with ExitStack() as stack:
        for callback in trainer.callbacks:  # pyright: ignore[reportAttributeAccessIssue]
            if isinstance(callback, Throughput):
                stack.enter_context(callback.paused())
            if isinstance(callback, EMA):
                stack.enter_context(callback.applied(module))
        stack.enter_context(torch.no_grad())
        module.eval()
        try:
            yield
        finally:
            for part, mode in modes.items():
                part.training = mode
            set_random_states(states)
