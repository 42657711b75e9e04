"""The README does what it says: every snippet and every command is run here or by `.ci/run`."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from PIL import Image

from tests.paths import ROOT

README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
LINES = [line for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
SETUP = [line for line in LINES if line.startswith("python3 -m venv .venv && .venv/bin/pip install -e '.[")]
COMMANDS = [line for line in LINES if line not in SETUP]
LONG = [line for line in COMMANDS if re.search(r" run \S+$", line)]


def shell(command: str, folder: Path) -> str:
    """Run a line of the README with this environment's programs, writing into a scratch folder."""
    scratch = folder / "checkout"
    if not scratch.exists():
        scratch.mkdir()
        (scratch / "recipes").symlink_to(ROOT / "recipes")
        (scratch / "omnigen2/microworld").mkdir(parents=True)
        (scratch / "omnigen2/microworld/model").symlink_to(ROOT / "omnigen2/microworld/model")
    bin_folder = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-euc", command.replace(".venv/bin/", f"{bin_folder}/")],
        capture_output=True,
        text=True,
        cwd=scratch,
        check=False,
        env=os.environ | {"COLUMNS": "120"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_snippet_runs(number: int) -> None:
    exec(compile(textwrap.dedent(SNIPPETS[number]), f"README snippet {number}", "exec"), {})


@pytest.mark.parametrize("snippet", [text for text in SNIPPETS if "print(" in text])
def test_a_snippet_prints_what_it_says(snippet: str, capsys: pytest.CaptureFixture[str]) -> None:
    exec(snippet, {})
    assert capsys.readouterr().out.strip() == snippet.rpartition("  # ")[2].strip()


def test_the_readme_has_two_commands_for_a_fresh_machine() -> None:
    """The second is what `.ci/run` runs, in a fresh environment of a scratch folder."""
    assert len(SETUP) == 2
    assert SETUP[0].endswith("'.[toy]' && .venv/bin/lightning run recipes/rope_toy.yaml")
    assert SETUP[1].endswith("'.[test]' && .venv/bin/pytest -n auto")
    assert "grep -E '^python3 -m venv .*pytest' README.md" in (ROOT / ".ci" / "run").read_text()


def test_quick_commands_run_one_after_another(tmp_path: Path) -> None:
    quick = [line for line in COMMANDS if line not in LONG]
    assert len(quick) > 5
    for command in quick:
        assert shell(command, tmp_path), f"{command} prints nothing"
    pictures = {path.name: Image.open(path).size for path in (tmp_path / "checkout").glob("*.png")}
    assert pictures.pop("world.png") > (1000, 1000)
    assert pictures == {"cube.png": (64, 64), "blue.png": (64, 64), "table.png": (96, 64), "drawn.png": (64, 64)}


def test_the_main_command_builds_everything_it_would_train(tmp_path: Path) -> None:
    command = SETUP[0].rpartition("&& ")[2]
    assert "7 rows × 3 seeds = 21 runs" in shell(f"{command} --dry_run", tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("command", [*LONG, SETUP[0].rpartition("&& ")[2]])
def test_long_command_runs(command: str, tmp_path: Path) -> None:
    shell(command, tmp_path)
    (folder,) = (tmp_path / "checkout" / "runs").iterdir()
    assert {"report.md", "report.json"} <= {path.name for path in folder.iterdir()}
    assert list(folder.glob("*.png"))


def test_files_that_the_readme_links_to_exist() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    local = [link for link in links if "://" not in link]
    assert len(local) > 5
    assert not [link for link in local if not (ROOT / link).exists()]


def test_the_table_is_that_of_the_committed_report() -> None:
    report = (ROOT / "docs" / "rope_toy" / "report.md").read_text()
    table = [line for line in report.splitlines() if line.startswith("|")]
    assert len(table) > 8
    assert "\n".join(table) in README
