"""A run takes more steps than it was first asked for: which settings may differ, and what must not depend on that."""

from collections.abc import Iterator, Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from omnigen2.errors import UserError

LIMITS = ("trainer.max_steps", "trainer.max_epochs")
RUNNING = {"last_epoch", "base_lrs", "lr_lambdas", "best", "num_bad_epochs", "cooldown_counter", "T_cur", "T_i"}
"""What a schedule counts while it runs; everything else in its state describes it."""

Changes = Mapping[str, tuple[Any, Any]]
"""The value before and the value now of settings that differ, by dotted key."""


def asks_for_more(changes: Changes) -> bool:
    """Whether all that has changed is that a run is to take more steps, or epochs.

    What refers to a limit (`steps: ${trainer.max_steps}`) changes as the limit does.
    """
    limits = [changes[key] for key in LIMITS if key in changes]
    return bool(limits) and all(map(_grows, limits)) and all(change in limits for change in changes.values())


class SameSchedule(Callback):
    """Refuses to prolong a run whose schedule of the learning rate depends on how long the run is.

    Its steps so far would have had other learning rates in the longer run.
    """

    def __init__(self) -> None:
        self._saved: list[dict[str, Any]] = []
        self._fits = False

    @override
    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._saved = checkpoint.get("lr_schedulers", [])
        if self._fits:  # strategies that shard restore late
            self._check(trainer)

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare, before the new schedules take over what the old ones have counted.

        Raises:
            UserError: If a schedule is described otherwise than in the checkpoint.
        """
        self._fits = True
        self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        saved, self._saved = self._saved, []
        for config, before in zip(trainer.lr_scheduler_configs, saved, strict=False):
            state: dict[str, Any] = config.scheduler.state_dict()
            for key, old, new in differing(before, state):
                raise UserError(
                    f"the learning rate depends on the length of the run: {key} was {old} and would be {new}, so that "
                    "the steps so far would have had other learning rates",
                    "to have been asked for all steps at once, run it anew (--restart, or --out=FOLDER)\nto train on "
                    "from what it has learned, start another run from its weights: --out=FOLDER, and "
                    "--model.init_args.weights=… (of adapters: --model.init_args.adapter=…)",
                )


def differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """What two states of a schedule say otherwise of what it is: names, and the values of both."""
    for key in sorted(old.keys() & new.keys()):
        before, after = old[key], new[key]
        if key == "_schedulers":  # of a schedule made of schedules
            for inner_before, inner_after in zip(before, after, strict=False):
                yield from differing(inner_before, inner_after)
        elif isinstance(before, dict) and isinstance(after, dict):
            yield from differing(before, after)
        elif (key == "_milestones" or not (key.startswith("_") or key in RUNNING)) and before != after:
            yield key.removeprefix("_"), before, after


def _grows(change: tuple[Any, Any]) -> bool:
    before, now = change
    return isinstance(before, int) and isinstance(now, int) and 0 <= before < now
