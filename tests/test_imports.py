"""Who may import whom, and what the light packages cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "omnigen2"
ALLOWED = {
    "layout": set(),
    "rope": {"layout"},
    "dit": {"rope", "layout"},
    "flow": set(),
    "encoders": {"layout"},
    "rl": {"flow"},
    "data": {"layout", "encoders.images", "strict_yaml"},
    "microworld": {"data", "rl.reward"},
    "evaluation": {
        "rl",
        "encoders.images",
        "microworld",
    },  # reads pictures as data does; the miniatures are judged by rules
    "generate": {"layout", "encoders", "dit", "flow"},
}
"""The arrows of the design. Rooms that are not named here (training, cli, rope.toy) may import anything."""
LIGHT = ("omnigen2.layout", "omnigen2.rope", "omnigen2.dit", "omnigen2.flow", "omnigen2.rl")
HEAVY = (
    "lightning",
    "transformers",
    "diffusers",
    "litdata",
    "torchmetrics",
    "omegaconf",
    "jsonargparse",
    "matplotlib",
    "httpx",
    "fastapi",
    "uvicorn",
)


def room(module: str) -> str:
    """`rope.positions` belongs to `rope`; the toy is a room of its own."""
    return "rope.toy" if module.startswith("rope.toy") else module.partition(".")[0]


def imports(path: Path) -> set[str]:
    """Modules of the package that a file imports, without the package's name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide arrows"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names if node.module == "omnigen2" else {node.module or ""}
    return {name.removeprefix("omnigen2.") for name in found if name.startswith("omnigen2.")}


def test_imports_follow_the_arrows() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 20
    for path in files:
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        home = room(module)
        if home not in ALLOWED:
            continue
        for name in imports(path):
            allowed = room(name) == home or any(name == a or name.startswith(f"{a}.") for a in ALLOWED[home])
            assert allowed, f"{path.relative_to(PACKAGE.parent)} imports omnigen2.{name}, which {home} may not"


def test_the_package_itself_imports_nothing() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", LIGHT)
def test_light_packages_need_no_heavy_library(module: str) -> None:
    blocked = "\n".join(f"sys.modules[{name!r}] = None" for name in HEAVY)
    done = run(f"import sys\n{blocked}\nimport {module}")
    assert done.returncode == 0, done.stderr


def test_the_block_works() -> None:
    assert "ModuleNotFoundError" in run("import sys\nsys.modules['lightning'] = None\nimport lightning").stderr


def test_the_package_ships_its_types() -> None:
    assert (PACKAGE / "py.typed").exists()
