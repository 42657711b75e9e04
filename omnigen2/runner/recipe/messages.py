"""What is wrong with a recipe that is refused, in two or three lines."""

import re
import traceback
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jsonargparse import ArgumentParser
from omegaconf.errors import OmegaConfBaseException

from omnigen2.errors import UserError
from omnigen2.runner.recipe.classes import known_keys
from omnigen2.runner.recipe.faults import fault, unknown_option
from omnigen2.runner.recipe.recipe import Document
from omnigen2.runner.recipe.settings import document_of, resolved, value_at
from omnigen2.runner.recipe.where import ANY, place_of

WRITTEN = "write ${section.key}, counted from the top of the recipe"
REFERENCE = re.compile(r"\$\{(\w[\w.]*)\}")


def explain(error: Exception, parser: ArgumentParser, arguments: Sequence[str], files: Sequence[Path]) -> UserError:
    """Find what a parser refuses; its own words are the last resort.

    Args:
        error: What it raised.
        arguments: What it was given: `--config=…` for each layer, then options of the form `--key=value`.
        files: The files among the layers.
    """
    options = [word for word in arguments if not word.startswith("--config=")]
    document = document_of(arguments, files)
    if isinstance(error, OmegaConfBaseException):
        key = str(error.full_key or "")
        message, remedy = _reference(document, key) or (str(error).partition("\n")[0], WRITTEN)
        return UserError(f"{key}: {message}" if key else message, f"{remedy}\n{place_of(key, files, options)}".strip())
    for option in options:
        if unknown := unknown_option(option, known_keys(parser)):
            return UserError(unknown)
    if found := fault(parser, resolved(document)):
        place = place_of(found.setting, files, options, found.value)
        return UserError(found.message, f"{found.remedy}\n{place}".strip())
    return UserError(_short(_said(error)))


@contextmanager
def building() -> Generator[None]:
    """Turn what a class has to say about its arguments into an error for the user.

    Yields:
        Nothing.

    Raises:
        UserError: If a class refuses its arguments.
        OSError: As it comes.
    """
    try:
        yield
    except Exception as error:
        if isinstance(said := _said(error), UserError | OSError):
            raise said from said.__cause__
        place = f"({type(said).__name__} while building the recipe; --verbose shows where)"
        raise UserError(_short(said), place) from error


def _said(error: BaseException) -> BaseException:
    """What a class has said, without what the parser has made of it."""
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in traceback.walk_tb(error.__traceback__)]
    made = "".join(modules[-1:]).startswith("jsonargparse.")
    return _said(error.__cause__) if made and error.__cause__ is not None else error


def _short(error: BaseException) -> str:
    words = " ".join(str(error).split())
    return words if len(words) <= 300 else f"{words[:300]}…"


def _reference(document: Document, key: str) -> tuple[str, str] | None:
    """Where the references of a setting lead, if that is nowhere or back to itself, and what to do."""
    seen = [key]
    while isinstance(text := value_at(document, seen[-1]), str) and (match := REFERENCE.search(text)):
        name = match[1]
        if any(f"{one}.".startswith(f"{name}.") for one in seen):
            return f"the reference {match[0]} leads back to itself", "write a value in one of the places on its way"
        seen.append(name)
    return (f"the reference ${{{seen[-1]}}} leads nowhere", WRITTEN) if len(seen) > 1 and text is ANY else None
