"""What annotations say, looked at when a part is built; the room imports nothing of ours, so these are its own."""

from typing import get_args


def check_instance(name: str, value: object, kind: type[object]) -> None:
    """Refuse a value of another class, such as an argument in the place of its neighbour.

    Args:
        name: What the value is called, such as "the shift of time_grid".

    Raises:
        ValueError: If it is no instance.
    """
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {value!r}, expected a {kind.__name__}")


def check_choice(name: str, value: object, choices: object) -> None:
    """Refuse a value that is none of those of a `Literal`.

    Raises:
        ValueError: If it is another.
    """
    known = get_args(choices)
    if not any(type(value) is type(one) and value == one for one in known):
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(map(repr, known))}")
