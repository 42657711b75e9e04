"""What a user has to mend, in two lines: what is wrong, and what to do."""


class GenerateError(ValueError):
    """A request, a folder or a file that cannot be used.

    Args:
        problem: What was got and what was expected, one line.
        remedy: What to do, one line.
    """

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n{remedy}")
