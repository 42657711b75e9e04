"""The folder of a run: held by one process, freed by the end of it in any way, and never a puzzle."""

import errno
import fcntl
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from omnigen2.errors import UserError
from omnigen2.runner.keep.folder import CONFIG, LOCK, locked, settings_of, start_over


def hold(folder: Path) -> int:
    """Let another process hold a folder until it is killed; return its id once it does."""
    ready, said = os.pipe()
    child = os.fork()
    if child == 0:
        with locked(folder):
            os.write(said, b"held")
            signal.pause()
        os._exit(0)
    assert os.read(ready, 4) == b"held"
    return child


def test_a_folder_has_one_owner_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    owner = hold(tmp_path)
    try:
        with (
            pytest.raises(UserError, match=f"is in use by process {owner} on .+; wait for it, stop it"),
            locked(tmp_path),
        ):
            pass
    finally:
        os.kill(owner, signal.SIGKILL)
        os.waitpid(owner, 0)
    with locked(tmp_path):
        assert (tmp_path / LOCK).read_text().startswith(f"{os.getpid()} on ")
    with locked(tmp_path):  # nor does one that has let go
        pass


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(file: Any, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(UserWarning, match="keeps no locks .No locks available.: see to it"), locked(tmp_path):
        assert (tmp_path / LOCK).exists()


@pytest.mark.parametrize("operation", ["mkdir", "touch", "open"])
def test_a_folder_that_cannot_be_written_is_told(
    operation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, operation, refuse)
    with pytest.raises(UserError, match="cannot be written: Read-only file system\n  check the perm"), locked(tmp_path):
        pass


def test_what_fails_while_a_folder_is_held_is_not_its_fault(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="elsewhere"), locked(tmp_path):
        raise OSError(errno.EIO, "elsewhere")


def test_the_files_of_someone_else_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with (
        pytest.raises(UserError, match=f"has files that no run has made.*\n.*copy the file {LOCK} too"),
        locked(tmp_path),
    ):
        pass
    (tmp_path / "thesis.txt").unlink()
    with locked(tmp_path):
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "metrics.csv").touch()
        said: list[str] = []
        start_over(tmp_path, said.append)
        assert said == [f"starting over: deleted checkpoints, metrics.csv in {tmp_path}"]
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]


@pytest.mark.parametrize("content", [b"a: [1", b"- 1", b"", b"\xff\xfe\x00"])
def test_damaged_settings_are_told(content: bytes, tmp_path: Path) -> None:
    assert settings_of(tmp_path) is None
    (tmp_path / CONFIG).write_bytes(b"a: 1")
    assert settings_of(tmp_path) == {"a": 1}
    (tmp_path / CONFIG).write_bytes(content)
    with pytest.raises(UserError, match="config.yaml is damaged: .*\n  --restart deletes it"):
        settings_of(tmp_path)
