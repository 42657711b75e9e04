"""Numbers beyond which a size, a count or a strength is a slip."""

from omnigen2.errors import UserError

MOST_STEPS = 2**40
"""Of a training."""


def check_most(name: str, value: float | None, most: float, error: type[UserError] = UserError) -> None:
    """Refuse a number that is too large, infinite, or none.

    Args:
        name: What messages call it.
        value: None is passed over.

    Raises:
        UserError: If it is above `most`.
    """
    if value is not None and not value <= most:
        raise error(f"{name} is {value!r:.40}", f"expected at most {most}")
