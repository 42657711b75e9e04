"""Reads recipe files and decides which form of recipe they are; imports nothing heavy.

A recipe is one YAML file and any number of further layers over it. The values are checked later,
by the parser of `config.py`; here we only find the files and read them.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from omnigen2.errors import UserError
from omnigen2.files import StrictLoader

Document = dict[str, Any]
Form = Literal["plain", "stages", "study"]
FORMS = (
    "known forms: a plain recipe (keys trainer, model, data, optimizer, seed_everything, vars), stages (key stages), "
    "and a study (key study)"
)


@dataclass(frozen=True)
class Recipe:
    """The files and options of one command.

    Attributes:
        files: The recipe and its layers.
        documents: Their contents.
        overrides: Options of the form `--key=value`, applied last.
        out: The output folder, if it is not the one that the name of the recipe gives.
    """

    files: tuple[Path, ...]
    documents: tuple[Document, ...]
    overrides: tuple[str, ...]
    out: Path | None = None

    @property
    def name(self) -> str:
        """The stem of the first file."""
        return self.files[0].stem

    @property
    def form(self) -> Form:
        """What the first file describes: one run, stages, or a study."""
        return form_of(self.documents[0])

    @property
    def command(self) -> str:
        """The command that runs the recipe again, as a shell reads it."""
        out = [] if self.out is None else [f"--out={self.out}"]
        return shlex.join(["lightning", "run", *map(str, self.files), *self.overrides, *out])


def read_recipe(files: Sequence[Path], overrides: Sequence[str]) -> Recipe:
    """Read a recipe, its form checked and its values not yet, from at least one YAML file and `--key=value` options.

    Raises:
        UserError: If a file is missing or unreadable, or the form is unknown.
    """
    recipe = Recipe(tuple(files), tuple(map(read_yaml, files)), tuple(overrides))
    for file, document in zip(recipe.files, recipe.documents, strict=True):
        if "study" in document and "stages" in document:
            raise UserError(f"{file} has both `study` and `stages`; the stages of a study stand in its rows")
        if (form := form_of(document)) not in ("plain", recipe.form):
            article = {"study": "a study", "stages": "a recipe with stages"}[form]
            raise UserError(f"{file}: a layer with `{form}` needs {article} as the first file, not {files[0]}")
    return recipe


def form_of(document: Document) -> Form:
    """Which form of recipe a document is."""
    return "study" if "study" in document else "stages" if "stages" in document else "plain"


def read_yaml(path: Path) -> Document:
    """Read one YAML file that holds a mapping; `${…}` stays as it is.

    Raises:
        UserError: If there is no such file, or it is not YAML, or empty, or not a mapping.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a recipe; {_inside(path)}")
    if not path.is_file():
        near, remedy = _near(path)
        raise UserError(f"there is no recipe {path}{near}", remedy)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=StrictLoader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line} is not valid YAML: {error.problem or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "check the permissions of the file") from error
    if content is None:
        raise UserError(f"{path} is empty", FORMS)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{path} must hold a mapping of names to values, got {type(content).__name__}", FORMS)
    return cast(Document, content)


class _Dumper(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Write what occurs twice twice."""
        return True


# The text "1e-3" needs quotes, since it is read as a number otherwise.
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[\d_.]+[eE][-+]?\d+$"), list("-+.0123456789")
)


def as_yaml(document: Document) -> str:
    """Write a document as a recipe holds it."""
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True))


def _near(path: Path) -> tuple[str, str]:
    known = sorted({*Path("recipes").rglob("*.y*ml"), *path.parent.glob("*.y*ml")})
    by_stem = {file.stem: file for file in reversed(known)}
    stems = get_close_matches(path.stem, by_stem, n=3, cutoff=0.6)
    if stems:
        return f"; did you mean {' or '.join(str(by_stem[stem]) for stem in stems)}?", ""
    return "", f"recipes here: {', '.join(map(str, known[:8]))}" if known else ""


def _inside(path: Path) -> str:
    files = sorted(path.glob("*.y*ml"))
    return f"it holds {', '.join(file.name for file in files[:8])}" if files else "it holds no YAML file"
