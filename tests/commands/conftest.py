"""A shell in a folder of its own, with a tiny model."""

from pathlib import Path

import pytest

from omnigen2.cli import main

SMALL = ("--height", "32", "--width", "48", "--steps", "2", "--device", "cpu")


class Shell:
    """Runs commands in a folder with a model."""

    def __init__(self, folder: Path, model: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self.model, self.capture = folder, model, capture

    def __call__(self, *words: object) -> str:
        """What a command that succeeds prints."""
        assert main([str(word) for word in words]) == 0, self.capture.readouterr().err
        return self.capture.readouterr().out

    def generate(self, *words: object) -> str:
        return self("generate", "--model", self.model, *SMALL, *words)

    def refused(self, *words: object) -> list[str]:
        """The two lines of a command that fails."""
        assert main([str(word) for word in words]) == 2
        lines = self.capture.readouterr().err.splitlines()
        assert len(lines) == 2, lines
        assert lines[0].startswith("error: ")
        assert lines[1].strip()
        return lines


@pytest.fixture
def shell(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path, model, capsys)
