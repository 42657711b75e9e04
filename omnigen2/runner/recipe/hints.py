"""What to do about a setting that the parser refuses, beyond what is wrong with it."""

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
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
    if match := re.search(r"does not correspond to a subclass of (\w+)", fact):
        names = sorted({path for base in _ours(match[1]) for path in _derived(base)})
        return f"known: {', '.join(names[:6])}" if names else ""
    scalar = re.search(r"expected (int|float|str|bool)\b.*, got \[", fact)
    return STUDY if scalar and "expected list" not in fact else ""


def _ours(name: str) -> list[type]:
    """The classes of this library that have a name, as far as they are imported."""
    modules = [module for path, module in list(sys.modules.items()) if path.startswith("omnigen2.")]
    found = {getattr(module, name, None) for module in modules}
    return [one for one in found if inspect.isclass(one) and one.__name__ == name]


def _derived(base: type) -> Iterator[str]:
    """The shortest import paths of the classes that are derived from one and can be used as they are."""
    for one in base.__subclasses__():
        parts = one.__module__.split(".")
        places = [".".join(parts[: length + 1]) for length in range(len(parts))]
        public = [place for place in places if getattr(sys.modules.get(place), one.__name__, None) is one]
        if public and not inspect.isabstract(one) and not one.__name__.startswith("_"):
            yield f"{public[0]}.{one.__name__}"
        yield from _derived(one)


def missing_fact(lines: Sequence[str]) -> str:
    """The fact where a message has none but that something is no class."""
    return CLASS if any("Subclass types expect" in line or "Not a valid subclass" in line for line in lines) else ""
