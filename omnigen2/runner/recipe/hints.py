"""What to do about a setting that the parser refuses, beyond what is wrong with it."""

import re
from collections.abc import Callable, Sequence
from typing import Any

CLASS = "expected a class: {class_path: NAME, init_args: {…}}"
STUDY = "for a run with each of several values write a study (`study:` with `rows`), see omnigen2/runner/README.md"
LOGGER = "name a class, such as --trainer.logger=WandbLogger (metrics.csv is written in any case)"


def lacking(names: str, keys: str, owner: str) -> tuple[str, str]:
    """A fact and a remedy for arguments that a class needs and a recipe does not give."""
    wanted = re.split(r"[, ]+", names.strip())
    where = f" (at {keys})" if keys else ""
    written = ", ".join(f"{name}: …" for name in wanted)
    return f"{owner}{where} lacks {', '.join(wanted)}", f"write `init_args: {{{written}}}` beside its class_path"


def abstract(class_path: str, found: Callable[[str], Any]) -> str:
    """What is missing of a class that cannot be used as it is."""
    missing = sorted(getattr(found(class_path), "__abstractmethods__", ()))
    what = f"it does not define {', '.join(missing)}" if missing else "it only says what others have in common"
    return f"{class_path} cannot be used as it is: {what}; name a class that is derived from it"


def hint(keys: str, fact: str) -> str:
    """A remedy for some facts; nothing for others."""
    if keys == "trainer.logger" and "import path" in fact:
        return LOGGER
    scalar = re.search(r"expected (int|float|str|bool)\b.*, got \[", fact)
    return STUDY if scalar and "expected list" not in fact else ""


def missing_fact(lines: Sequence[str]) -> str:
    """The fact where a message has none but that something is no class."""
    return CLASS if any("Subclass types expect" in line or "Not a valid subclass" in line for line in lines) else ""
