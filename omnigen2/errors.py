"""What a user has to mend: the one kind of error that is shown without a traceback."""

from collections.abc import Generator
from contextlib import contextmanager


class UserError(ValueError):
    """Something that the user of a command, a recipe or a function has to mend.

    Args:
        message: What was got and what was expected.
        remedy: What to do; its lines are indented below the message. Empty if the message says it.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__("\n  ".join([message, *remedy.splitlines()]))
        self.message = message
        self.remedy = remedy

    def at(self, place: object) -> "UserError":
        """The same, with the place where it was found before the message."""
        return UserError(f"{place}: {self.message}", self.remedy)


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
