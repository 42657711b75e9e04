"""What the commands share: options out of typed settings, job files, and errors in two lines."""

import argparse
import re
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentError, ArgumentParser  # pyright: ignore[reportPrivateImportUsage]

from omnigen2.errors import UserError, user_errors

Settings = TypeVar("Settings")
POSITIONAL = {"positional": True}
"""Metadata of a field that is told by its place and not by its name."""
LARGEST = 1e9
"""Numbers of options beyond this are slips, where their field does not say `at_most` something else."""
LARGEST_SEED = 2**63 - 1
SHOWN = {Path: "PATH", int: "N", float: "NUMBER", str: "TEXT"}
"""What help shows in place of a value."""


@dataclass(frozen=True)
class Option:
    """A field of a settings class, as an option.

    Attributes:
        kind: Its type; None is left out of a union.
        default: `MISSING` if it must be given.
        help: Its line of the docstring.
        most: Largest number that it can be, if it is one.
    """

    name: str
    kind: Any
    default: Any
    positional: bool
    help: str
    most: float

    @property
    def items(self) -> tuple[Any, ...] | None:
        """Of a tuple, the types of what is in it: one and `...` if it may be repeated. None of other types."""
        return get_args(self.kind) if get_origin(self.kind) is tuple else None

    @property
    def shown(self) -> str:
        """What messages call it."""
        return self.name.upper() if self.positional else f"--{self.name}"


def at_most(number: float) -> dict[str, float]:
    """Metadata of a field whose numbers beyond this are slips."""
    return {"most": number}


class Parser(ArgumentParser):
    """Has an option for each field of a settings class; those of settings inside it stand beside its own.

    Options are written with `_` or `-`. A `bool` is a flag, a `tuple[X, ...]` may be repeated, and `tuple[X, X]` takes
    two values. `--config` names a YAML file with options under their names; what is written on the command line as well
    wins, whichever comes first. Fields that are told by their place stand on the command line alone.

    Args:
        kind: The settings class, with an `Attributes:` section that says what each field is.
        name: The command.
        usage: What follows the program's name.
        description: What it does.
    """

    def __init__(self, kind: type, name: str, usage: str, description: str) -> None:
        super().__init__(
            prog=f"omnigen2 {name}",
            usage=f"omnigen2 {name} {usage}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            exit_on_error=False,
            print_config=None,
        )
        self.kind = kind
        self.options = {option.name: option for option in _options(kind)}
        self.add_argument("--verbose", action="store_true", help="show the traceback of an error")
        self.add_argument("--config", action="config", metavar="JOB.yaml", help="options in a file; those here win")
        for option in self.options.values():
            self._add(option)

    def settings(self, words: Sequence[str]) -> Any:
        """What a command line says, as an instance of `kind`.

        Raises:
            UserError: If the words mean nothing, an option is missing, or a settings class refuses a value.
        """
        plain, tuples = self._tuples(list(words))
        try:
            values = {**vars(self.parse_args(plain)), **tuples}
        except (ArgumentError, TypeError) as error:
            raise self._wrong(str(error)) from error
        for name, option in self.options.items():
            if values[name] is None:
                values[name] = option.default  # also where a job file says null
            if option.kind is bool and not isinstance(values[name], bool):
                raise self._wrong(f"--{name}: expected true or false, got {values[name]!r}")
        for option in self.options.values():
            value = values[option.name]
            for one in value if isinstance(value, tuple) else (value,):
                if type(one) in (int, float) and not abs(one) <= option.most:
                    raise self._wrong(f"{option.shown}: expected a number up to {option.most:.20g}, got {one!r:.40}")
        missing = [option.shown for name, option in self.options.items() if values[name] is MISSING]
        if missing:
            raise self._wrong(f"the following arguments are required: {', '.join(missing)}")
        with user_errors():
            return _built(self.kind, values)

    def _add(self, option: Option) -> None:
        names = dict.fromkeys((f"--{option.name}", f"--{option.name.replace('_', '-')}"))
        said, default = option.help.rstrip(".").replace("%", "%%"), option.default
        if option.kind is bool:
            self.add_argument(*names, action="store_true", help=said)
            return
        if isinstance(default, str | int | float | Path) and default != "":
            said += f" (default: {default})"
        settings: dict[str, Any] = {"type": option.kind, "default": None if default is MISSING else default}
        if get_origin(option.kind) is not Literal:
            settings["metavar"] = SHOWN.get(option.items[0] if option.items else option.kind, "VALUE")
        if option.positional:
            settings["metavar"] = option.shown
            self.add_argument(option.name, nargs="?", help=said, **settings)
        else:
            self.add_argument(*names, help=said, **settings)

    def _tuples(self, words: list[str]) -> tuple[list[str], dict[str, tuple[Any, ...]]]:
        """The words without the options that hold several values, with the job file in front; and those options."""
        front: list[str] = []
        plain: list[str] = []
        found: dict[str, tuple[Any, ...]] = {}
        while words:
            word = words.pop(0)
            name, equals, value = word.partition("=")
            key = name.removeprefix("--").replace("-", "_") if name.startswith("--") else ""
            items = self.options[key].items if key in self.options else None
            if key == "config":
                front += [word] if equals or not words else [word, words.pop(0)]
            elif items is None:
                plain.append(word)
            else:
                count = 1 if items[-1] is ... else len(items)
                given = [value] if equals else words[:count]
                if len(given) < count or any(one.startswith("--") for one in given if not equals):
                    raise self._wrong(f"{name}: expected {count} argument{'s' * (count > 1)}")
                del words[: 0 if equals else count]
                before = found.get(key, ()) if items[-1] is ... else ()
                found[key] = (*before, *self._read(name, items[0], given))
        return front + plain, found

    def _read(self, name: str, item: Callable[[str], Any], given: Sequence[str]) -> Iterator[Any]:
        for one in given:
            try:
                yield from map(item, one.split(",") if item is int else [one])
            except ValueError as error:
                raise self._wrong(f"{name}: {one!r} is no {'whole ' * (item is int)}number") from error

    def _wrong(self, message: str) -> UserError:
        """What jsonargparse found, in one line, and the option that may be meant."""
        names = {option.name: option.shown for option in self.options.values()}
        said = re.sub(
            r'^Parser key "(\w+)":', lambda at: f"{names.get(at[1], f'--{at[1]}')}:", " ".join(message.split())
        )
        said = re.sub(r"Expected an? (?:<class '(\w+)'>|typing\.Literal\[(.+?)\])\. Got value:", _expected, said)
        said = re.sub(
            r"Does not validate against any of the Union .*?: \[(.+)\] Errors: .* Given value:", _any_of, said
        )
        unknown = re.match(r"unrecognized arguments: --([^\s=]+)|Option '([^']+)'", said)
        near = get_close_matches(unknown[1] or unknown[2], self.options, n=1) if unknown else []
        return UserError(said, f"did you mean {near[0]}?" if near else f"`{self.prog} --help` shows the options")


def run_command(parser: Parser, arguments: Sequence[str], run: Callable[[Any], None]) -> int:
    """Parse and run, and tell errors that a user can mend in two lines; any other is a bug and is raised.

    Args:
        parser: The command's.
        arguments: What follows the command's name.
        run: What the command does with its settings.

    Returns:
        The exit status: 0 done, 2 the user has to mend something, 130 stopped by Ctrl-C.

    Raises:
        RuntimeError: If one is raised that does not say that the memory was too small.
    """
    try:
        run(parser.settings(arguments))
    except (UserError, OSError) as error:
        return _told(error, parser.options, "--verbose" in arguments)
    except MemoryError as error:
        return _told(error, parser.options, "--verbose" in arguments)
    except RuntimeError as error:
        if not _too_large(error):
            raise
        return _told(error, parser.options, "--verbose" in arguments)
    except KeyboardInterrupt:
        print("\nstopped; what is finished is kept", file=sys.stderr)
        return 130
    return 0


def _too_large(error: RuntimeError) -> bool:
    """Whether the memory was too small: torch, which need not be imported to say so, raises one thing or another."""
    return type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)


def note(sentence: str) -> None:
    """Tell something that is no error, in one line beside the output."""
    print(f"note: {sentence}", file=sys.stderr)


def _told(error: UserError | OSError | RuntimeError | MemoryError, options: Collection[str], verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    text = str(error)
    if isinstance(error, UserError):
        text = "\n".join((error.message, error.advice(options)))
    text = text.strip()
    problem, _, remedy = text.partition("\n") if "\n" in text else text.partition("; ")
    if isinstance(error, RuntimeError | MemoryError):
        remedy = "try --offload stages or blocks, --vae_memory tiled, a smaller --batch_size or --height and --width"
    second = " ".join(remedy.split()) or "--verbose shows where it happened"
    print(f"error: {problem}\n       {second}", file=sys.stderr)
    return 2


def _options(kind: type) -> Iterator[Option]:
    hints = get_type_hints(kind)
    said = {param.arg_name: param.description or "" for param in parse_docstring(kind.__doc__ or "").params}
    for field in fields(cast(Any, kind)):
        hint = _without_none(hints[field.name])
        if is_dataclass(hint):
            yield from _options(cast(type, hint))
        else:
            says = " ".join(said[field.name].split())
            most = field.metadata.get("most", LARGEST_SEED if field.name.endswith("seed") else LARGEST)
            yield Option(field.name, hint, field.default, bool(field.metadata.get("positional")), says, most)


def _built(kind: type, values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(kind)
    inner = {field.name: hints[field.name] for field in fields(cast(Any, kind))}
    return kind(
        **{name: _built(hint, values) if is_dataclass(hint) else values[name] for name, hint in inner.items()}  # pyright: ignore[reportArgumentType]
    )


def _without_none(hint: Any) -> Any:
    kinds = [one for one in get_args(hint) if one is not NoneType]
    return kinds[0] if get_origin(hint) in (Union, UnionType) and len(kinds) == 1 else hint


def _any_of(match: re.Match[str]) -> str:
    kinds = re.findall(r"<class '(\w+)'>|typing\.Literal\[(.+?)\]", match[1])
    return f"expected {' or '.join(''.join(kind) for kind in kinds)}, got"


def _expected(match: re.Match[str]) -> str:
    return f"expected {match[1]}, got" if match[1] else f"expected one of {match[2]}, got"
