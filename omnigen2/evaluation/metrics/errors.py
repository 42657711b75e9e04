"""The one error of this room that a user can mend."""

from omnigen2.errors import UserError


class EvaluationError(UserError):
    """Something about files, settings or results that cannot be used."""
