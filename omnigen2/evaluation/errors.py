"""The one error of this room that a user can mend."""


class EvaluationError(ValueError):
    """Something about files, settings or results that cannot be used, in two lines.

    Args:
        problem: What was got and what was expected.
        remedy: What to do.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n{remedy}")
