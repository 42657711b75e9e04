"""Options out of typed settings, job files, and errors in two lines."""

from omnigen2.commands.options.parser import POSITIONAL, Parser, at_most, note, run_command

__all__ = ["POSITIONAL", "Parser", "at_most", "note", "run_command"]
