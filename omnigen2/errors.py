"""What a user has to mend: the one kind of error that is shown without a traceback."""

from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from typing import get_args


class UserError(ValueError):
    """Something that the user of a command, a recipe or a function has to mend.

    Args:
        message: What was got and what was expected.
        remedy: What to do; its lines are indented below the message. Empty if the message says it.
        arguments: What can be done as well by whoever can give an argument, by its name, such as
            `{"max_tokens": "raise {}"}`: a command shows what its own options can do, in its own words.
    """

    def __init__(self, message: str, remedy: str = "", arguments: Mapping[str, str] | None = None) -> None:
        self.message = message
        self.remedy = remedy
        self.arguments = dict(arguments or {})
        super().__init__("\n  ".join([message, *self.advice().splitlines()]))

    def advice(self, options: Collection[str] | None = None) -> str:
        """All that can be done: in the words of Python or, given the names of its options, in those of a command."""
        can = {name: f"--{name}" for name in self.arguments if options is not None and name in options}
        words = {name: name for name in self.arguments} if options is None else can
        return ", or ".join(filter(None, (self.remedy, *(self.arguments[name].format(words[name]) for name in words))))

    def at(self, place: object) -> "UserError":
        """The same, with the place where it was found before the message."""
        return UserError(f"{place}: {self.message}", self.remedy, self.arguments)


@contextmanager
def user_errors() -> Generator[None]:
    """Turn what functions say about the values that a user gave them (`problem; remedy`) into a `UserError`.

    Yields:
        Nothing.

    Raises:
        UserError: If a value is refused.
    """
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        problem, _, remedy = str(error).partition("; ")
        raise UserError(problem, remedy) from error


def check_instance(name: str, value: object, kind: type[object]) -> None:
    """Refuse a value of another class, such as an argument in the place of its neighbour.

    Args:
        name: What the value is called, such as "the shift of time_grid".

    Raises:
        UserError: If it is no instance.
    """
    if not isinstance(value, kind):
        raise UserError(f"{name} is {value!r}, expected a {kind.__name__}")


def check_whole(name: str, *values: int) -> int:
    """The least of some whole numbers; what is none, such as 4.0 or true, counts nothing and is refused.

    Args:
        name: What a value is called, such as "the length of a TextSegment".
        *values: One or more.

    Raises:
        UserError: If one is none.
    """
    for value in values:
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise UserError(f"{name} is {value!r}, expected a whole number")
    return min(values)


def check_choice(name: str, value: object, choices: object) -> None:
    """Refuse a value that is none of those of a `Literal`: annotations are not checked when a program runs.

    Args:
        name: What the value is called, such as "the role of an ImageSegment".
        choices: A `Literal`, or an alias of one.

    Raises:
        UserError: If it is another.
    """
    known = get_args(choices)
    if not any(type(value) is type(one) and value == one for one in known):
        raise UserError(f"{name} is {value!r}, expected one of {', '.join(map(repr, known))}")
