"""The command line: help, unknown words, and what is handed to Lightning's own tool."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from omnigen2.cli import OF_IMPORTS, lightning_main, main
from omnigen2.commands.run import parse_run
from omnigen2.errors import UserError

HEAVY = {"torch", "lightning", "jsonargparse", "omegaconf", "yaml", "rich"}


@pytest.mark.parametrize("name", OF_IMPORTS)
def test_what_a_library_says_on_importing_is_dropped_and_nothing_else(name: str) -> None:
    for words, passes in ((f"now: {OF_IMPORTS[name]} …", False), ("a weight is missing", True)):
        record = logging.LogRecord(name, logging.WARNING, "", 0, words, (), None)
        assert bool(logging.getLogger(name).filter(record)) == passes


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--version"], ["nope"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\nfrom omnigen2.cli import main\n"
        f"try:\n    main({words})\nexcept SystemExit:\n    pass\n"
        f"print(sorted({HEAVY} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_help_says_how_to_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "run RECIPE.yaml" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["run", "--help"])
    text = capsys.readouterr().out
    for word in ("--dry_run", "--print_config", "--restart", "--out", "--jobs", "--KEY=VALUE", "--stages.NAME"):
        assert word in text


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "omnigen2", "--version"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("omnigen2 ")


def test_an_unknown_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rnu"]) == 2
    assert "'rnu'; did you mean run?" in capsys.readouterr().err
    assert main(["zzz"]) == 2
    assert "commands: run" in capsys.readouterr().err


def test_settings_and_options_are_told_apart() -> None:
    options, settings = parse_run(["a.yaml", "--trainer.max_steps=3", "b.yaml", "--dry-run", "--x+=[1]", "--jobs", "2"])
    assert options.files == [Path("a.yaml"), Path("b.yaml")]
    assert settings == ["--trainer.max_steps=3", "--x+=[1]"]
    assert options.dry_run
    assert options.jobs == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.yaml", "--dryrun"], "unknown option --dryrun; did you mean --dry"),
        (["a.yaml", "--trainer.max_steps"], "unknown option --trainer.max_steps; .* --key=value"),
        (["a.yaml", "-x"], "unknown option -x"),
        ([], "no recipe is named"),
        (["a.yaml", "--jobs=0"], "--jobs must be at least 1, got 0"),
        (["a.yaml", "--jobs=many"], "invalid int value: 'many'"),
        (["a.yaml", "--dry_run=3"], "ignored explicit argument '3'"),
    ],
)
def test_a_wrong_command_line_is_explained(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=message):
        parse_run(words)
    assert main(["run", *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.parametrize("words", [["job", "list"], ["login"], ["run", "job"], ["run", "mmt"], ["--help"], []])
def test_other_commands_go_to_lightning_sdk(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "lightning_sdk" / "cli"
    package.mkdir(parents=True)
    (tmp_path / "lightning_sdk" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "entrypoint.py").write_text(
        "def main_cli(args, prog_name):\n    print('sdk got', prog_name, args)\n    return 7\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ("lightning_sdk", "lightning_sdk.cli", "lightning_sdk.cli.entrypoint")
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)  # so that the test's own modules are removed at its end
        del sys.modules[name]
    assert lightning_main(words) == 7
    assert f"sdk got lightning {words}" in capsys.readouterr().out


def test_without_lightning_sdk_one_line_says_where_things_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "lightning_sdk", None)
    assert lightning_main(["job", "list", "--all"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "`lightning run RECIPE.yaml`" in lines[0]
    assert "`lightning job list`" in lines[0]
    assert "lightning-sdk" in lines[0]


def test_run_is_ours_under_both_names(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (main, lightning_main):
        assert command(["run", "nowhere.yaml"]) == 2
        assert "there is no recipe nowhere.yaml" in capsys.readouterr().err
