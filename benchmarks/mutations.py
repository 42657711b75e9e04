"""Would the tests notice? Single faults are put into copies of the components, and the tests beside them are run.

    python benchmarks/mutations.py --out mutations.txt --minutes 9

Draws 60 faults from the seed (a comparison, an operator, a number turned into another, a call or a raise left out),
each in a function of one of the rooms below, and runs two files of tests of that room, that of the same name and those
that speak of it most, and two of `tests/reports`. Nothing but a copy of the checkout is touched. What is in the file
already is not run again, so that the same command goes on; the last line counts. A fault that no test notices may also
be none: read it before writing a test.
"""

import argparse
import ast
import copy
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import Phase, settings

ROOT = Path(__file__).parent.parent
ROOMS = ("dit", "flow", "rope", "rl", "rl/coupled", "rl/decoupled", "encoders", "adapters", "layout.py",
         "training/parts", "runner/keep")  # fmt: skip
COPIED = ("omnigen2", "tests", "recipes", "docs", "examples", "benchmarks", "pyproject.toml", "README.md")
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Add,
    ast.Pow: ast.Mult,
}  # fmt: skip
SWAPPED = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(frozen=True)
class Mutation:
    """One fault: what stands in a file instead of what."""

    file: str
    line: int
    start: int
    end_line: int
    end: int
    old: str
    new: str

    @property
    def name(self) -> str:
        """What it is called in the list."""
        return f"{self.file}:{self.line}:{self.start} {self.old!r} -> {self.new!r}"

    def write(self, root: Path) -> None:
        """Put it into a copy of the file."""
        lines = (ROOT / self.file).read_text(encoding="utf-8").encode().splitlines(keepends=True)
        first, last = lines[self.line - 1], lines[self.end_line - 1]
        changed = first[: self.start] + self.new.encode() + last[self.end :]
        blank = [b"\n"] * (self.end_line - self.line)  # other lines keep their numbers
        (root / self.file).write_bytes(b"".join([*lines[: self.line - 1], changed, *blank, *lines[self.end_line :]]))


def mutations(file: Path) -> Iterator[Mutation]:
    """All faults that may be put into a file."""
    source = file.read_text(encoding="utf-8")
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            for statement in function.body:
                for node, new in _changed(statement):
                    text = "pass" if new is None else ast.unparse(new)
                    old = ast.get_source_segment(source, node) or ""
                    if isinstance(node, ast.expr) and isinstance(new, ast.BinOp | ast.Compare | ast.UnaryOp):
                        text = f"({text})"
                    short = " ".join(old.split())
                    yield Mutation(
                        str(file.relative_to(ROOT)), node.lineno, node.col_offset, node.end_lineno or node.lineno,
                        node.end_col_offset or 0, short, text,
                    )  # fmt: skip


def _changed(node: ast.AST) -> Iterator[tuple[ast.stmt | ast.expr, ast.expr | None]]:
    """Nodes below this one, each with another in its place; None for nothing."""
    match node:
        case ast.FunctionDef() | ast.ClassDef() | ast.JoinedStr():
            return  # met by themselves; words for people
        case ast.Expr(value=ast.Call(func=func)):
            if not (isinstance(func, ast.Name) and func.id == "assert_never"):
                yield node, None
        case ast.Raise():
            yield node, None
            return  # its words are no component
        case ast.Compare(ops=[op]) if type(op) in COMPARED:
            yield node, _with(node, ops=[COMPARED[type(op)]()])
        case ast.BinOp(op=op) if type(op) in COMPUTED and not _words(node):
            yield node, _with(node, op=COMPUTED[type(op)]())
        case ast.BoolOp(op=ast.And()):
            yield node, _with(node, op=ast.Or())
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node, node.operand
        case ast.Constant(value=bool() as value):
            yield node, ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield node, ast.Constant(value + 1 if value < 1 else value - 1 if value < 2 else value * 2)
        case ast.Call(func=ast.Name(id=name)) if name in SWAPPED:
            yield node, _with(node, func=ast.Name(SWAPPED[name]))
        case _:
            pass
    left_out = getattr(node, "annotation", None)
    for child in ast.iter_child_nodes(node):
        if child is not left_out and not (isinstance(child, ast.keyword) and child.arg == "non_blocking"):
            yield from _changed(child)


def _with(node: ast.expr, **parts: object) -> ast.expr:
    other = copy.copy(node)
    for name, value in parts.items():
        setattr(other, name, value)
    return other


def _words(node: ast.BinOp) -> bool:
    sides = (node.left, node.right)
    return any(
        isinstance(side, ast.JoinedStr | ast.List | ast.Tuple | ast.Constant) and not _number(side) for side in sides
    )


def _number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def drawn(seed: int, count: int) -> list[Mutation]:
    """The faults of a seed: from each room in turn, each file and each of its faults equally likely."""
    rng, chosen = random.Random(seed), list[Mutation]()
    while len(chosen) < count:
        room = ROOT / "omnigen2" / ROOMS[len(chosen) % len(ROOMS)]
        files = [room] if room.suffix else [file for file in sorted(room.glob("*.py")) if file.name != "__init__.py"]
        found = [one for one in mutations(rng.choice(files)) if one not in chosen]
        chosen += rng.sample(found, min(1, len(found)))
    return chosen


def tests_beside(file: str) -> list[str]:
    """The tests of a file: two of its room, the one of its name first, and two of `reports`.

    Where no test of the room speaks of what is in it, they are those of the files beside it that import it, or those of
    other rooms that speak of it.
    """
    path = Path(file).relative_to("omnigen2")
    chosen: list[str] = []
    for folder, most in ((path.parent, 2), (Path("reports"), 2)):
        found = _speaking(folder, [ROOT / file], path.stem)
        if not found and folder == path.parent:
            beside = [one for one in (ROOT / file).parent.glob("*.py") if f".{path.stem} import" in one.read_text()]
            found = _speaking(folder, [one for one in beside if one.name != "__init__.py"], path.stem)
            found = found or _speaking(Path(), [ROOT / file], path.stem)
        chosen += [str(test.relative_to(ROOT)) for test in found[:most]]
    return chosen


def _speaking(folder: Path, files: Sequence[Path], stem: str) -> list[Path]:
    """The tests in a folder that speak of what is in files, those first that do so most."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    nodes = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    spoken = re.compile("|".join(rf"\b{node.name}\b" for node in nodes if not node.name.startswith("_")) or "$^")
    found = {
        test: len(spoken.findall(test.read_text(encoding="utf-8"))) + 1000 * (test.stem == f"test_{stem}")
        for test in (ROOT / "tests" / folder).glob("test_*.py" if folder.parts else "**/test_*.py")
    }
    return sorted((test for test in found if found[test]), key=lambda test: (-found[test], test))


def passes(root: Path, tests: Sequence[str], seconds: float) -> bool | None:
    """Run tests in a child that has the large libraries already; None if they are not done in time."""
    child = os.fork()
    if not child:
        code = 1
        try:
            os.chdir(root)
            sys.path.insert(0, str(root))
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests], [FirstFailure()]))
        finally:
            os._exit(code)  # never on with what the parent does
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status == 0
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


class FirstFailure:
    """Keeps hypothesis from looking for the smallest failure, which takes minutes."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Once the profiles of the tests are there, and before tests are read."""
        phases = (Phase.explicit, Phase.reuse, Phase.generate)
        settings.register_profile("mutations", parent=settings.default, phases=phases)
        settings.load_profile("mutations")


def caught(mutation: Mutation, root: Path) -> str | None:
    """Run the tests beside a fault: `caught`, `caught (time)`, `NOT CAUGHT`; None if they fail without it too."""
    tests = tests_beside(mutation.file)
    if (seconds := usual(tuple(tests), root)) is None:
        return None
    mutation.write(root)
    try:
        match passes(root, tests, 3 * seconds + 30):
            case True:
                return "NOT CAUGHT"
            case False:
                return "caught"
            case None:
                return "caught (time)"
    finally:
        shutil.copyfile(ROOT / mutation.file, root / mutation.file)


@cache
def usual(tests: tuple[str, ...], root: Path) -> float | None:
    """How long tests take without a fault; None if there are none, or they fail, or take minutes."""
    start = time.monotonic()
    return time.monotonic() - start if tests and passes(root, tests, 400) else None


def main() -> None:
    """Draw faults, try those that were not tried, and say how many were caught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("mutations.txt"), help="what was found so far, a line each")
    parser.add_argument("--seed", type=int, default=0, help="which faults")
    parser.add_argument("--count", type=int, default=60, help="how many")
    parser.add_argument("--minutes", type=float, default=60, help="when to stop; the same command goes on")
    given = parser.parse_args()
    end = time.monotonic() + 60 * given.minutes
    for library in ("torch", "lightning.pytorch", "transformers", "diffusers", "peft", "hypothesis"):
        import_module(library)  # once for all children
    known = dict(line.split("\t")[::-1] for line in given.out.read_text().splitlines()) if given.out.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copied(ROOT / name, Path(folder) / name)
        for mutation in drawn(given.seed, given.count):
            if mutation.name not in known and time.monotonic() < end:
                if (result := caught(mutation, Path(folder))) is None:
                    print(f"the tests beside {mutation.file} fail as they are, or take minutes", flush=True)
                    continue
                known[mutation.name] = result
                with given.out.open("a") as file:
                    file.write(f"{result}\t{mutation.name}\n")
                print(result, mutation.name, sep="\t", flush=True)
    print(f"{sum(result.startswith('caught') for result in known.values())} of {len(known)} caught")


if __name__ == "__main__":
    main()
