"""Values out of JSON that others have written: each has the type that is asked for, or an error says where it is."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from omnigen2.errors import UserError
from omnigen2.files.json_text import JsonProblem, decoded, parsed, shown

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Fields:
    """An object of a foreign file. Each method takes one value, or raises `error`.

    Attributes:
        values: What the object holds.
        where: What messages call it, such as a path, or a path and a line.
        error: What is raised.
        remedy: What messages say is to be done.

    Example:
        >>> fields = Fields({"r": 8, "targets": ["to_q"]}, "adapter_config.json")
        >>> fields.whole("r", low=1), fields.texts("targets")
        (8, ('to_q',))
    """

    values: Mapping[str, Any]
    where: str
    error: type[UserError] = UserError
    remedy: str = ""

    def has(self, name: str) -> bool:
        """Whether there is such a value, and it is not null."""
        return self.values.get(name) is not None

    def only(self, *known: str) -> None:
        """Refuse every name but these.

        Raises:
            UserError: If there is another.
        """
        if unknown := sorted(self.values.keys() - set(known)):
            names = ", ".join(shown(name) for name in unknown[:8])
            raise self.error(f"{self.where} has {names}, known are {', '.join(known)}", self.remedy)

    def text(self, name: str) -> str:
        """A text, without half characters."""
        value = self._of(name, str, "text")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.refusal(name, "text without half a character (a lone surrogate)") from None
        return value

    def flag(self, name: str) -> bool:
        """True or false; neither 1 nor "true"."""
        return self._of(name, bool, "true or false")

    def choice(self, name: str, *known: str) -> str:
        """One of some texts."""
        if (value := self.values.get(name)) not in known:
            raise self.refusal(name, f"one of {', '.join(known)}")
        return cast(str, value)

    def whole(self, name: str, low: int = -(2**63), high: int = 2**63 - 1) -> int:
        """A whole number from `low` to `high`; true and 1.0 are none."""
        value = self.values.get(name)
        if type(value) is not int or not low <= value <= high:
            raise self.refusal(name, "a whole number" + _range(low, high))
        return value

    def number(self, name: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number from `low` to `high`."""
        value: Any = self.values.get(name)
        try:
            found = float(value) if type(value) in (int, float) else math.nan
        except OverflowError:
            found = math.nan
        if not math.isfinite(found) or not low <= found <= high:
            raise self.refusal(name, "a number" + _range(low, high))
        return found

    def inert(self, name: str, *values: object) -> None:
        """Refuse a value that is there, unless it is one of those at which nothing changes.

        Raises:
            UserError: If it is another.
        """
        if name in self.values and not any(_same(self.values[name], value) for value in values):
            raise self.refusal(name, f"{' or '.join(shown(value) for value in values)}, for nothing else is done here")

    def object(self, name: str) -> "Fields":
        """An object inside of this one."""
        return self._within(cast(dict[str, Any], self._of(name, dict, "an object")), name)

    def objects(self, name: str) -> "tuple[Fields, ...]":
        """A list of objects."""
        found = cast(list[Any], self._of(name, list, "a list of objects"))
        if not all(isinstance(one, dict) for one in found):
            raise self.refusal(name, "a list of objects")
        return tuple(self._within(one, f"{name}[{number}]") for number, one in enumerate(found))

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts."""
        found = cast(list[Any], self._of(name, list, "a list of texts"))
        return tuple(Fields({name: one}, self.where, self.error, self.remedy).text(name) for one in found)

    def wholes(self, name: str, low: int = -(2**63), high: int = 2**63 - 1) -> tuple[int, ...]:
        """A list of whole numbers, each from `low` to `high`."""
        found = cast(list[Any], self._of(name, list, "a list of whole numbers"))
        return tuple(Fields({name: one}, self.where, self.error, self.remedy).whole(name, low, high) for one in found)

    def refusal(self, name: str, expected: str) -> UserError:
        """What to raise if a value is not what is expected."""
        got = f"has {name} {shown(self.values[name])}" if name in self.values else f"has no {name}"
        return self.error(f"{self.where} {got}, expected {expected}", self.remedy)

    def _of(self, name: str, kind: type[Kind], expected: str) -> Kind:
        value = self.values.get(name)
        if not isinstance(value, kind):
            raise self.refusal(name, expected)
        return value

    def _within(self, values: dict[str, Any], name: str) -> "Fields":
        return Fields(values, f"{self.where}, {name},", self.error, self.remedy)


def object_in(value: object, where: str, error: type[UserError] = UserError, remedy: str = "") -> Fields:
    """What JSON gave, if it is an object.

    Raises:
        UserError: If it is something else.
    """
    if not isinstance(value, dict):
        raise error(f"{where} is {shown(value)}, expected an object", remedy)
    return Fields(cast(dict[str, Any], value), where, error, remedy)


def read_object(path: Path, error: type[UserError] = UserError, remedy: str = "copy the file anew") -> Fields:
    """Read a JSON file of others that holds one object.

    Args:
        error: What is raised.
        remedy: What to do with a file that cannot be used.

    Raises:
        UserError: If there is no such file, or it is no UTF-8, no JSON or no object.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as missing:
        raise error(f"there is no file {path}", "check the path") from missing
    except OSError as reason:
        raise error(f"{path} cannot be read ({reason.strerror})", "expected a JSON file") from reason
    return object_of(content, str(path), error, remedy)


def object_of(content: bytes, where: str, error: type[UserError] = UserError, remedy: str = "") -> Fields:
    """The object that the content of a JSON file is, wherever it lies.

    Args:
        where: Names the file.
        error: What is raised.
        remedy: What to do with a file that cannot be used.

    Raises:
        UserError: If it is no UTF-8, no JSON or no object.
    """
    try:
        return object_in(parsed(decoded(content), remedy), where, error, remedy)
    except JsonProblem as wrong:
        raise error(f"{where} {wrong.problem}", wrong.remedy) from wrong


def _same(one: object, other: object) -> bool:
    """Whether JSON means the same by two values: 1 and 1.0 are equal, 1 and true are not."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _range(low: float, high: float) -> str:
    least = "" if low in (-math.inf, -(2**63)) else f" of at least {low}"
    most = "" if high in (math.inf, 2**63 - 1) else f"{' and' if least else ' of'} at most {high}"
    return least + most
