"""The one error of this room that a user can mend."""

from pathlib import PurePath

from omnigen2.errors import UserError


class GenerateError(UserError):
    """A request, a folder or a file that cannot be used."""


def check_kind(name: str, value: object, kind: type | tuple[type, ...], words: str) -> None:
    """Refuse a value of another kind: annotations are not checked when a program runs.

    Args:
        name: What the value is called.
        kind: Those that it may be. True is no number.
        words: What they are called together.

    Raises:
        GenerateError: If it is another.
    """
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        plain = value is None or isinstance(value, bool | int | float | str | bytes | PurePath)
        what = f"{value!r:.60}" if plain else f"a {type(value).__name__}"
        raise GenerateError(f"{name} is {what}, expected {words}")
