"""Every room has a page, and every file and name that a page speaks of exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGE = ROOT / "omnigen2"
ROOMS = sorted(path.parent for path in PACKAGE.rglob("__init__.py") if path.parent != PACKAGE)
PAGES = sorted(page for page in PACKAGE.rglob("README.md") if page.parent in ROOMS)
MOST_LINES = 90
NAMED = re.compile(r"`((?:[\w.]+/)*\w+\.py)(?::([\w.]+))?(?:\(\))?`")
"""`file.py` or `file.py:function` or `file.py:Class.method`, seen from the folder of the page."""


@cache
def names_of(path: Path) -> set[str]:
    """What a file defines: functions, classes, constants, and attributes of classes as `Class.name`."""
    found: set[str] = set()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    found.add(prefix + name)
                case ast.ClassDef(name=name, body=inner):
                    found.add(prefix + name)
                    collect(inner, f"{prefix}{name}.")
                case ast.Assign(targets=[ast.Name(id=name), *_]) | ast.AnnAssign(target=ast.Name(id=name)):
                    found.add(prefix + name)
                case _:
                    pass

    collect(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return found


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_every_room_has_a_page_of_at_most_a_page(room: Path) -> None:
    page = room / "README.md"
    assert page.is_file(), f"{room} has no README.md"
    lines = page.read_text(encoding="utf-8").splitlines()
    assert 5 <= len(lines) <= MOST_LINES, f"{page} has {len(lines)} lines"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    for file, name in NAMED.findall(page.read_text(encoding="utf-8")):
        path = page.parent / file
        assert path.is_file(), f"{page}: there is no {file} in this room"
        assert not name or name in names_of(path), f"{page}: {file} has no {name}"


def test_rooms_say_what_they_are() -> None:
    for room in ROOMS:
        doc = ast.get_docstring(ast.parse((room / "__init__.py").read_text(encoding="utf-8"))) or ""
        assert len(doc) > 20, f"{room}/__init__.py says nothing of the room"


def test_the_check_sees_a_wrong_name(tmp_path: Path) -> None:
    (tmp_path / "part.py").write_text("class Whole:\n    size: int = 1\n\n    def half(self) -> None: ...\n")
    assert {"Whole", "Whole.half", "Whole.size"} <= names_of(tmp_path / "part.py")
    text = "`part.py`, `part.py:Whole.half()`, `sub/other.py:x` and `part.py:absent`"
    assert NAMED.findall(text) == [
        ("part.py", ""),
        ("part.py", "Whole.half"),
        ("sub/other.py", "x"),
        ("part.py", "absent"),
    ]
