"""What the parser of recipes has to say, in two or three lines.

Messages of jsonargparse are long and nested; `explain` keeps the innermost fact and adds the nearest right name.
"""

import importlib
import inspect
import re
from argparse import ArgumentParser
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from omegaconf.errors import GrammarParseError

from omnigen2.errors import UserError
from omnigen2.runner.recipe.hints import abstract, hint, lacking, missing_fact
from omnigen2.runner.recipe.where import place_of

NOISE = re.compile(
    r"Subtypes:|Errors:|Does not validate against|Given value|Subclass types expect|a class path|a dict with|"
    r"Expected a <class 'NoneType'>|Not a valid subclass|Expected a path but|Parser key|Problem with"
)
OPTIONS = {"config", "help", "print_config", "print_shtab"}
"""What a parser knows and no recipe holds."""
SPECIAL_KEYS = ("class_path", "init_args", "dict_kwargs")
LISTED = "; --print_config lists the settings that the recipe has"


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str:
    """Suggest the right name for a misspelt one: `; did you mean {prefix}X?`, or nothing if no known name is near."""
    matches = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {prefix}{matches[0]}?" if matches else ""


def known_keys(parser: ArgumentParser) -> list[str]:
    """Every dotted key that a parser knows; argparse offers no other way to them."""
    return [action.dest for action in parser._actions]  # pyright: ignore[reportPrivateUsage]


def explain(message: str, known: Sequence[str], files: Sequence[Path], options: Sequence[str] = ()) -> UserError:
    """Turn a message of jsonargparse into the one fact that helps.

    Args:
        message: The text of the exception.
        known: Every dotted key that the parser knows.
        files: The recipe's files, to say where a wrong key stands.
        options: Those of the command line, likewise.
    """
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    keys = ".".join(re.findall(r'Parser key "([^"]+)"', message))
    classes = re.findall(r"Problem with given class_path '([^']+)'", message)
    if match := re.search(r"unrecognized arguments: (--\S+)", message):
        unknown = _unknown_parameter(match[1], keys, classes[-1]) if classes else _unknown_option(match[1], known)
        return UserError(unknown)
    if match := re.search(r"Group '([^']+)' does not accept option '([^']+)'", message):
        group, key = match.groups()
        inside = [name[len(group) + 1 :] for name in known if name.startswith(f"{group}.")]
        near = nearest(key, inside) or LISTED
        place = _where(key, files) or _where(key.partition(".")[0], files)
        return UserError(f"{group} has no setting {key!r}{near}", place)
    if match := re.search(r"Option '([^']+)' is not accepted", message):
        key = match[1].split(".")[0]
        if classes:
            owner = classes[-1]
            names = (*SPECIAL_KEYS, *(parameters_of(owner) or ()))
            return UserError(f"{owner} (at {keys}) has no parameter {key!r}{nearest(key, names)}", _where(key, files))
        near = nearest(key, top_level(known)) or f"; known keys: {', '.join(top_level(set(known) - OPTIONS))}"
        return UserError(f"unknown key {key!r}{near}", _where(key, files))
    if match := re.search(r"the following arguments are required: (.+)", message):
        return UserError(*lacking(match[1], keys, classes[-1] if classes else "the recipe"))
    if match := re.search(r"Expected an instantiatable class, but (\S+) is abstract", message):
        return UserError(f"{keys}: {abstract(match[1], found_at)}", place_of(keys, files, options))
    if match := re.search(r"module '([^']+)' has no attribute '([^']+)'", message):
        module, name = match.groups()
        return UserError(f"{keys}: {module} has no {name}{nearest(name, vars(importlib.import_module(module)))}")
    if classes and (match := re.search(r"No module named '[^']+'", message)):
        return UserError(f"{keys}: {classes[-1]} does not import: {match[0]}")
    fact = _fact(lines, keys, classes)
    remedy = (hint(keys, fact), place_of(keys, files, options) if keys else "")
    return UserError(fact, "\n".join(filter(None, remedy)))


@contextmanager
def building() -> Generator[None]:
    """Turn what a class has to say about its arguments into an error for the user.

    Yields:
        Nothing.

    Raises:
        UserError: If a class refuses its arguments.
        OSError: As it comes.
    """
    try:
        yield
    except (UserError, OSError):
        raise
    except Exception as error:
        place = f"({type(error).__name__} while building the recipe; --verbose shows where)"
        raise UserError(str(explain(str(error), (), ())), place) from error


def explain_reference(error: Exception) -> UserError:
    """Turn an error of omegaconf about a `${…}` into one that helps."""
    remedy, words = "write ${section.key}, counted from the top of the recipe", str(error)
    if match := re.search(r"resolved to '([^']+)'|Error trying to access ([^\s:]+)", words):
        return UserError(f"the reference ${{{match[1] or match[2]}}} leads nowhere", remedy)
    if "Recursive interpolation" in words:
        return UserError("the reference leads back to itself", "break the circle: write a value in one of the places")
    if isinstance(error, GrammarParseError):
        remedy += ", and none to the setting itself or to what holds it"
        return UserError("the reference ${…} cannot be read", remedy)
    return UserError(words.splitlines()[0], remedy)


def top_level(known: Iterable[str]) -> list[str]:
    """The first parts of dotted keys, each once, sorted."""
    return sorted({name.split(".")[0] for name in known})


def found_at(class_path: str) -> Any:
    """Import what a dotted path names; None if it does not import, for whatever reason, or is no such path."""
    module, _, name = class_path.rpartition(".")
    if not all(part.isidentifier() for part in class_path.split(".")) or not module:
        return None
    try:
        return getattr(importlib.import_module(module), name)
    except Exception:  # whatever a module of the user's own may raise
        return None


def parameters_of(class_path: str) -> list[str] | None:
    """Names of a class's parameters, of its parents' too if it hands `**kwargs` on; None if it does not import."""
    owner = found_at(class_path)
    if owner is None:
        return None
    names: list[str] = []
    for parent in inspect.getmro(owner) if inspect.isclass(owner) else ():
        init = vars(parent).get("__init__")
        if not inspect.isfunction(init):
            continue
        parameters = list(inspect.signature(init).parameters.values())[1:]
        names += [p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
        if all(p.kind != p.VAR_KEYWORD for p in parameters):
            break
    return names


def _unknown_option(option: str, known: Sequence[str]) -> str:
    key = option[2:].split("=")[0].rstrip("+")
    first, dot, _ = key.partition(".")
    outside = bool(dot) and first not in top_level(known)
    near = nearest(first, top_level(known), "--") if outside else nearest(key, known, "--")
    return f"unknown option --{key}{near or LISTED}"


def _unknown_parameter(option: str, keys: str, owner: str) -> str:
    name = option[2:].split("=")[0].split(".")[0]
    return f"{owner} (at {keys}) has no parameter {name!r}{nearest(name, parameters_of(owner) or ())}"


def _fact(lines: Sequence[str], keys: str, classes: Sequence[str]) -> str:
    bare = [line.removeprefix("- ") for line in lines]
    facts = [_plain(line) for line in bare if not NOISE.match(line)]
    facts = facts or list(filter(None, [missing_fact(bare)])) or [_plain(line) for line in bare]
    fact = " or ".join(dict.fromkeys(facts[:2])).replace(" or expected ", " or ")
    given = re.search(r"^Given value: (.{1,60})$", "\n".join(lines), flags=re.MULTILINE)
    if given and ", got " not in fact and not classes:
        fact += f", got {given[1]}"
    owner = f" (of {classes[-1]})" if classes and classes[-1] not in fact else ""
    return f"{keys}{owner}: {fact}" if keys else fact


def _plain(line: str) -> str:
    line = re.sub(r"<class '([^']+)'>", r"\1", line)
    line = re.sub(r"typing\.Literal\[([^\[\]]+)\]", r"one of \1", line)
    return re.sub(r"^Expected an? (.+?)(?:\. Got value: (.*))?$", _expected, line)


def _expected(match: re.Match[str]) -> str:
    return f"expected {match[1]}" + ("" if match[2] is None else f", got {match[2]}")


def _where(key: str, files: Sequence[Path]) -> str:
    pattern = re.compile(rf"""(^|[\s{{,'"]|\.){re.escape(key)}['"]?\s*:""")
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            if pattern.search(line):
                return f"{file}, line {number}: {line.strip()[:100]}"
    return ""
