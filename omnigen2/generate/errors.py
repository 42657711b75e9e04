"""The one error of this room that a user can mend."""

from omnigen2.errors import UserError


class GenerateError(UserError):
    """A request, a folder or a file that cannot be used."""
