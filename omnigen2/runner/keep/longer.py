"""Which settings may differ when a run goes on, also for more steps; and what must not depend on how many it takes."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from omnigen2.errors import UserError
from omnigen2.runner.recipe import found_at

ELSEWHERE = ("accelerator", "devices", "num_nodes", "strategy", "logger", "enable_progress_bar", "limit_test_batches")
"""Settings of the trainer that say where a run trains, who else is told, and what a test takes."""
LIMITS = ("trainer.max_steps", "trainer.max_epochs")
RUNNING = {"last_epoch", "base_lrs", "lr_lambdas", "best", "num_bad_epochs", "cooldown_counter", "T_cur", "T_i"}
"""What a schedule counts while it runs; everything else in its state describes it."""

Changes = Mapping[str, tuple[Any, Any]]
"""The value before and the value now of settings that differ, by dotted key."""


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs between the settings of a run and those with which it is to go on, but for what may differ.

    Those that may are `ELSEWHERE`, and what the classes of model and data name in `may_differ`, seen from their
    arguments (`reading.workers`). Where a class names a setting of a block, no block is one with the block's defaults.
    """
    free = {f"trainer.{name}" for name in ELSEWHERE}
    blocks: dict[str, Any] = {}
    for section in ("model", "data"):
        owner = found_at(str((new.get(section) or {}).get("class_path")))
        for key in getattr(owner, "may_differ", ()):
            free.add(f"{section}.init_args.{key}")
            name, dot, _ = key.partition(".")
            blocks |= {f"{section}.init_args.{name}": _defaults(owner, name)} if dot else {}
    return {
        key: change
        for key, change in changes(old, new, blocks=blocks).items()
        if not any(f"{key}.".startswith(f"{one}.") for one in free)
    }


def changes(
    old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "", blocks: Mapping[str, Any] | None = None
) -> dict[str, tuple[Any, Any]]:
    """The values, before and now, of the dotted keys in which two configurations differ.

    Args:
        prefix: Stands before every key.
        blocks: What stands for None at some keys.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for key in sorted({*old, *new}):
        name = f"{prefix}{key}"
        before, after = ((blocks or {}).get(name) if values.get(key) is None else values[key] for values in (old, new))
        if isinstance(before, dict) and isinstance(after, dict):
            found |= changes(before, after, f"{name}.", blocks)
        elif before != after or (key in old) != (key in new):
            found[name] = old.get(key), new.get(key)
    return found


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


def _defaults(owner: Any, name: str) -> dict[str, Any] | None:
    """The settings of the data class that an argument takes, as a recipe has them; None if it takes something else."""
    kind = get_type_hints(owner.__init__)[name]
    for one in (kind, *get_args(kind)):
        if dataclasses.is_dataclass(one) and isinstance(one, type):
            return json.loads(json.dumps(dataclasses.asdict(one())))
    return None


def _grows(change: tuple[Any, Any]) -> bool:
    before, now = change
    return isinstance(before, int) and isinstance(now, int) and 0 <= before < now
