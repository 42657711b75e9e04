"""What a user has to mend: the one kind of error that is shown without a traceback."""


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
