"""Where the runs of a plan are carried out, and what each of them takes there."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from omnigen2.errors import UserError

Kind = Literal["here", "local", "slurm", "ray"]
FOR: Mapping[str, tuple[Kind, ...]] = {
    "jobs": ("local", "slurm", "ray"),
    "gpus": ("local", "slurm", "ray"),
    "cpus": ("slurm", "ray"),
    "memory": ("slurm", "ray"),
    **dict.fromkeys(("time", "partition", "account", "qos"), ("slurm",)),
}
"""The executors that a setting is for."""


@dataclass(frozen=True)
class Machines:
    """The block `machines` of a recipe, and the options over it.

    Attributes:
        executor: `here` in this process, one after the other; `local` in processes of this machine; `slurm` or `ray`.
        jobs: So many runs side by side; None for as many as the executor has place for.
        gpus: For each run on each of its nodes; None for its `trainer.devices` if it asks for GPUs.
        cpus: For each process of a run.
        memory: For each run on each of its nodes, in GB.
        time: How long a run may take at a time, as text: minutes or `H:MM:SS`. One that takes longer goes on.
        partition: Of SLURM, as `account` and `qos` are.
        options: Which of these were given as options.
    """

    executor: Kind | None = None
    jobs: int | None = None
    gpus: int | None = None
    cpus: int | None = None
    memory: float | None = None
    time: str | int | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    options: frozenset[str] = field(default=frozenset(), init=False, compare=False)

    def under(self, options: Mapping[str, Any]) -> "Machines":
        """The same with options over it; those that are None were not given.

        Raises:
            UserError: If a value is impossible, or does not fit to the executor.
        """
        given = {name: value for name, value in options.items() if value is not None}
        made = replace(self, **given)
        object.__setattr__(made, "options", self.options | given.keys())
        made.check()
        return made

    def named(self, name: str) -> str:
        """A setting in the words of whoever gave it."""
        return f"--{name}" if name in self.options else f"machines.{name}"

    @property
    def minutes(self) -> int:
        """How long a run may take at a time; an hour if nothing is said, after which it goes on."""
        text = "60" if self.time is None else str(self.time)
        found = re.fullmatch(r"(?:(\d{1,4}):([0-5]\d):([0-5]\d)|(\d{1,6}))", text)
        hours, minutes, seconds, alone = (int(part or 0) for part in found.groups()) if found else (0, 0, 0, 0)
        return alone or math.ceil(hours * 60 + minutes + seconds / 60)

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            UserError: If a value is impossible, or does not fit to the executor.
        """
        for name in (each.name for each in fields(self) if each.name in FOR):
            value = getattr(self, name)
            if value is None or (self.executor == "here" and name == "jobs" and value == 1):
                continue
            if (self.executor or "local") not in FOR[name]:
                raise UserError(
                    f"{self.named(name)} is for {' or '.join(FOR[name])}; the executor is {self.executor or 'local'}",
                    f"leave it out, or say where the runs go: --executor={FOR[name][0]}",
                )
            least = 0 if name == "gpus" else 1
            if isinstance(value, int | float) and not least <= value < 10**6:
                raise UserError(f"{self.named(name)} must be at least {least} and below 10^6, got {value}")
        if isinstance(self.time, int):  # of which one cannot tell what was written
            what = f"{self.named('time')} is the number {self.time}, which is also what YAML makes of some H:MM:SS"
            raise UserError(what, 'write it in quotes: "90" for minutes, or "1:30:00"')
        if self.minutes < 1:
            raise UserError(
                f"{self.named('time')} is {self.time!r}, expected minutes or H:MM:SS, such as 90 or 1:30:00"
            )


@dataclass(frozen=True)
class Place:
    """What one run takes: `devices` processes on each of its `nodes`, which have so many `gpus` for it (0: none)."""

    devices: int = 1
    nodes: int = 1
    gpus: int = 0


def place(trainer: Mapping[str, Any], machines: Machines, visible: int) -> Place:
    """What a run takes, by the block `trainer` of its settings.

    Args:
        visible: GPUs of this machine, which `auto` takes where runs stay here.

    Raises:
        UserError: If the run and the machines contradict each other.
    """
    accelerator, asked = trainer.get("accelerator") or "auto", trainer.get("devices", "auto")
    count, nodes, given = _count(asked), int(trainer.get("num_nodes") or 1), machines.gpus
    says = f"trainer.accelerator={accelerator} and trainer.devices={asked}"
    elsewhere = machines.executor in ("slurm", "ray")
    there = given if given is not None else 0 if elsewhere else visible
    gpus = (count or given or 1) if accelerator in ("gpu", "cuda") or (accelerator == "auto" and there) else 0
    if given is not None and gpus != given:
        raise UserError(
            f"{machines.named('gpus')} gives {given} GPUs to a run, and {says} of its recipe takes {gpus}",
            f"leave {machines.named('gpus')} out, or change one of them",
        )
    if accelerator == "auto" and elsewhere and given is None and (count or 1) > 1:
        raise UserError(f"{says} may mean GPUs or not", f"add --gpus={count}, or --trainer.accelerator=cpu")
    if nodes > 1 and machines.executor != "slurm":
        raise UserError(f"trainer.num_nodes={nodes}: runs on several machines need --executor=slurm")
    return Place(count or gpus or 1, nodes, gpus)


def _count(devices: Any) -> int | None:
    # None where Lightning takes what there is
    if devices in ("auto", "-1", -1, None):
        return None
    words = [str(one) for one in devices] if isinstance(devices, list) else str(devices).split(",")
    if words == [str(number) for number in range(len(words))] and (isinstance(devices, list) or len(words) > 1):
        return len(words)
    if len(words) == 1 and words[0].isdecimal() and int(words[0]) > 0 and not isinstance(devices, list):
        return int(words[0])
    raise UserError(
        f"trainer.devices={devices} names devices of one machine", "write how many; each run is given its own"
    )
