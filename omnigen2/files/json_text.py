"""JSON as others write it, and the one way in which this library reads it."""

import json
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

DEEPEST = 100
"""Lists and objects that may lie in one another; what people write has less than ten."""
LONGEST_SHOWN = 60
"""Letters of a wrong value in a message."""
MARK = b"\xef\xbb\xbf"
"""A byte order mark, as some editors put it before UTF-8."""


class JsonProblem(ValueError):
    """What is wrong with a text ("is no JSON …"), and what to do."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.remedy = remedy


def decoded(content: bytes) -> str:
    """Bytes as the text that they are in UTF-8, without a byte order mark.

    Raises:
        JsonProblem: If they are something else.
    """
    try:
        return content.removeprefix(MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        problem = f"is no UTF-8 ({error.reason} at byte {error.start + 1})"
        raise JsonProblem(problem, "convert the file") from error


def parsed(text: str, remedy: str = "mend the file") -> Any:
    """What a text of JSON says; a name that stands twice in an object is refused.

    Raises:
        JsonProblem: If it is no JSON, or nested deeper than `DEEPEST`, or has a number of thousands of digits.
    """
    try:
        value: Any = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise JsonProblem(f"is no JSON ({error.msg} at character {error.pos + 1})", remedy) from error
    except RecursionError:
        _too_deep(remedy)
    except JsonProblem as error:
        raise JsonProblem(error.problem, remedy) from None
    except ValueError as error:
        raise JsonProblem(f"has a number of more than {sys.get_int_max_str_digits()} digits", remedy) from error
    if _depth(value) > DEEPEST:
        _too_deep(remedy)
    return value


def elements(text: str) -> Iterator[tuple[int, str, Any]]:
    """The elements of a JSON list, without looking for what `parsed` would refuse.

    Yields:
        Of each, the position, the text and the value.
    """
    decoder = json.JSONDecoder()
    place = len(text) - len(text.lstrip().removeprefix("[").lstrip())
    while text[place] != "]":
        value, end = decoder.raw_decode(text, place)
        yield place, text[place:end], value
        place = end
        while text[place].isspace() or text[place] == ",":
            place += 1


def shown(value: object) -> str:
    """A value of JSON as messages show it: on one line, and not long."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _too_deep(remedy: str) -> NoReturn:
    raise JsonProblem("is nested too deeply", remedy) from None


def _depth(value: Any) -> int:
    """How many lists and objects lie in one another, counted level by level: nothing calls itself here."""
    level, depth = [value], 0
    while level := [one for one in level if isinstance(one, (dict, list))]:
        depth += 1
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return depth


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise JsonProblem(f"has {', '.join(twice)} twice; keep one of them", "")
    return fields
