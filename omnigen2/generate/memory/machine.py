"""How much memory a machine has left."""

from pathlib import Path

import torch

UNLIMITED = 1 << 60
"""What a group of processes may take if it may take everything, or more."""


def free_memory(device: torch.device) -> int | None:
    """Bytes that may still be taken on a device; None where nobody tells."""
    match device.type:
        case "cpu":
            return free_on_host()
        case "cuda":
            return torch.cuda.mem_get_info(device)[0]
        case _:
            return None


def free_on_host(root: Path = Path("/")) -> int | None:
    """Bytes of the host's memory that this process may still take; None on systems that do not tell as Linux does.

    Cached pages of files count as free, since they make room. Limits of control groups, as containers have them, count.

    Args:
        root: Where the file systems of the kernel are.
    """
    told = root / "proc/meminfo"
    if not told.is_file():
        return None
    lines = dict(line.split(":", 1) for line in told.read_text().splitlines())
    available = int(lines["MemAvailable"].split()[0]) * 1024
    return min([available, *_left_in_groups(root)])


def _left_in_groups(root: Path) -> list[int]:
    """What is left of the limits of the control groups that the process is in, of version 1 or 2."""
    told = root / "proc/self/cgroup"
    left: list[int] = []
    for line in told.read_text().splitlines() if told.is_file() else ():
        _, controllers, place = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top = root / "sys/fs/cgroup" / controllers
        inside = top / place.lstrip("/")
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        for folder in (inside, *inside.parents):
            limit, used = (_number(folder / name) for name in names)
            if limit is not None and used is not None and limit < UNLIMITED:
                left.append(max(limit - used + _cached(folder / "memory.stat"), 0))
            if folder == top:
                break
    return left


def _number(path: Path) -> int | None:
    text = path.read_text().strip() if path.is_file() else ""
    return int(text) if text.isdigit() else None


def _cached(path: Path) -> int:
    """Bytes of pages of files, which a group can give back."""
    lines = dict(line.split(None, 1) for line in path.read_text().splitlines()) if path.is_file() else {}
    return sum(int(lines.get(name, 0)) for name in ("active_file", "inactive_file"))
