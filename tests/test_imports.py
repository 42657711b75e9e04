"""Who may import whom, how large rooms and files may be, and what the light packages cost."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.paths import ROOT

PACKAGE = ROOT / "omnigen2"
GROUND = (
    "errors layout shards pictures flow files quantize rope encoders rl dit data evaluation runner adapters generate"
)
ALLOWED = {
    "errors": "",
    "layout": "",
    "shards": "",
    "pictures": "",
    "flow": "",
    "files": "",
    "quantize": "",
    "rope": "layout",
    "encoders": "layout pictures files",
    "rl": "flow",
    "rl.rewards": "flow pictures files",
    "dit": "rope layout files",
    "data": "layout pictures files",
    "evaluation": "rl pictures files",
    "runner": "files layout shards",
    "curation": "data pictures files rl.rewards.remote evaluation.metrics generate",
    "adapters": "dit files quantize shards",
    "generate": "adapters dit encoders flow files layout pictures quantize",
    "training": " ".join(name for name in GROUND.split() if name != "evaluation"),
}
"""The arrows of the design; everyone may import `errors`. What is not named here is an experiment or a command."""
EXPERIMENTS = ("microworld", "rope_toy")
LIGHT = ("omnigen2.layout", "omnigen2.rope", "omnigen2.dit", "omnigen2.flow", "omnigen2.rl")
HEAVY = (
    "lightning", "transformers", "diffusers", "litdata", "torchmetrics", "omegaconf", "jsonargparse", "matplotlib",
    "httpx", "fastapi", "uvicorn", "peft", "PIL", "yaml",
)  # fmt: skip
MOST_FILES, MOST_LINES = 15, 300


def name_of(path: Path) -> str:
    """The dotted name of a module or package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
ROOMS = {name for name, path in MODULES.items() if path.name == "__init__.py"}


def room_of(module: str) -> str:
    """A package is its own room; of a module it is the package, but for those that lie in the package's root."""
    home = module.rpartition(".")[0]
    return module if module in ROOMS or home == "omnigen2" else home


@cache
def imports(module: str) -> tuple[str, ...]:
    """Modules and rooms of the package that a module imports, wherever it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide arrows"
            wholes = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {whole if whole in ROOMS else str(node.module) for whole in wholes}
    return tuple(sorted(name for name in found if name.startswith("omnigen2.")))


def arrows() -> Iterator[tuple[str, str]]:
    """Pairs of a module and what it imports from another room."""
    assert len(MODULES) > 100
    for module in MODULES:
        for target in imports(module):
            if room_of(module) != room_of(target) and not (module in ROOMS and target.startswith(f"{module}.")):
                yield module, target


def inside(name: str, rooms: str) -> bool:
    """Whether a dotted name lies in one of some rooms."""
    return any(name == room or name.startswith(f"{room}.") for room in rooms.split())


def test_arrows_are_those_of_the_design() -> None:
    for module, target in arrows():
        here, there = (name.removeprefix("omnigen2.") for name in (module, target))
        top = here.partition(".")[0]
        if top not in ALLOWED:
            continue
        allowed = ALLOWED["rl.rewards" if inside(here, "rl.rewards") else top]
        assert inside(there, f"{top} errors {allowed}"), f"{module} imports {target}, which {top} may not"


def test_nothing_imports_the_experiments() -> None:
    for module, target in arrows():
        here, there = (name.split(".")[1] for name in (module, target))
        if there in EXPERIMENTS:
            assert here in (there, "commands", "cli"), f"{module} imports {target}"


def test_no_arrow_climbs() -> None:
    """Rooms stand on floors: whatever a room imports, directly or not, does not import it."""
    below: dict[str, set[str]] = {}
    for module, target in arrows():
        below.setdefault(room_of(module), set()).add(room_of(target))

    def visit(room: str, way: tuple[str, ...]) -> None:
        assert room not in way, f"a circle of rooms: {' -> '.join((*way, room))}"
        if room not in seen:
            for other in sorted(below.get(room, ())):
                visit(other, (*way, room))
            seen.add(room)

    seen: set[str] = set()
    for room in sorted(below):
        visit(room, ())


def test_rooms_are_entered_by_their_doors() -> None:
    """A name of another room is imported from that room, not from a file in it; what lies below a file is its house."""
    for module, target in arrows():
        home = target.rpartition(".")[0]
        own_house = room_of(module) == home or room_of(module).startswith(f"{home}.")
        command = module == "omnigen2.cli" and home == "omnigen2.commands"
        assert target in ROOMS or home == "omnigen2" or own_house or command, f"{module} imports {target} past {home}"


TEXTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "recipes/**/*.yaml", "*/**/README.md", "recipes/**/*.py", "[be]*s/*.py")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)  # fmt: skip


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_recipes_and_texts_name_rooms(path: Path) -> None:
    for match in re.finditer(r"\bomnigen2((?:\.\w+)+)", path.read_text(encoding="utf-8")):
        parts = match[0].split(".")
        module = next((name for n in range(len(parts), 0, -1) if (name := ".".join(parts[:n])) in MODULES), "omnigen2")
        assert module in ROOMS or module.count(".") == 1, f"{path}: {match[0]} names a file; name the room"
        rest = parts[module.count(".") + 1 :]
        assert not rest or re.search(rf"\b{rest[0]}\b", MODULES[module].read_text()), f"{path}: no {match[0]}"


def test_rooms_and_files_are_small() -> None:
    for room in ROOMS:
        files = sorted(MODULES[room].parent.glob("*.py"))
        assert len(files) <= MOST_FILES, f"{room} has {len(files)} files"
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= MOST_LINES, f"{path} has {lines} lines"
    own = {path.name for path in (PACKAGE / "training").iterdir() if path.is_file()}
    assert own == {"__init__.py", "README.md"}


def test_the_package_itself_imports_nothing() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def imported_without(module: str, blocked: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    lines = "\n".join(f"sys.modules[{name!r}] = None" for name in blocked)
    return run(f"import sys\n{lines}\nimport {module}")


def test_light_packages_need_no_heavy_library() -> None:
    done = imported_without(", ".join(LIGHT), HEAVY)
    assert done.returncode == 0, done.stderr


def test_the_runner_knows_no_model() -> None:
    models = ("dit", "encoders", "rl", "training", "microworld", "generate", "data", "rope", "flow", "evaluation")
    blocked = tuple(f"omnigen2.{name}" for name in models)
    rooms = sorted(room for room in ROOMS if room.startswith("omnigen2.runner."))
    for module, others in (
        ("omnigen2.runner", ("transformers", "diffusers", "peft", "litdata")),
        (", ".join(rooms), ()),
    ):
        done = imported_without(module, blocked + others)  # Lightning itself looks for transformers, by torchmetrics
        assert done.returncode == 0, done.stderr


def test_the_block_works() -> None:
    assert "ModuleNotFoundError" in imported_without("lightning", ("lightning",)).stderr


def test_the_package_ships_its_types() -> None:
    assert (PACKAGE / "py.typed").exists()
