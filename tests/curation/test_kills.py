"""Killed at any moment and given again, a command comes to what it would have come to."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from omnigen2.curation import InProcess, Recipe, Store, curate
from tests.curation.parts import recipe, write_clips
from tests.curation.test_curate import TEXTS, content_of

WATCHED = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree")
LIMIT = 20.0


def killed_at(moment: int, made: Recipe, clips: Path, out: Path) -> bool:
    """Let a forked process work until it has touched files so many times, then kill it; False if it came to its end."""
    child = os.fork()
    if not child:
        left = moment

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            if event in WATCHED and str(out) in str(arguments[:2]):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        try:
            curate(made, clips, out, InProcess())
        finally:
            os._exit(0)
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.WIFSIGNALED(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"killed at {moment} it hangs")


def test_killed_at_any_moment_is_uninterrupted(tmp_path: Path) -> None:
    made, clips = recipe(tmp_path), write_clips(tmp_path / "clips", *TEXTS)
    out = tmp_path / "out"
    curate(made, clips, out, InProcess())
    whole, told = content_of(out), [one.to_json()["kept"] for one in Store(out).finished()]
    kills = 0
    for moment in range(0, 1000, 8):
        again = tmp_path / f"killed-{moment}"
        stopped = killed_at(moment, made, clips, again)
        kills += stopped + killed_at(moment // 2, made, clips, again)
        curate(made, clips, again, InProcess())
        assert content_of(again) == whole
        assert [one.to_json()["kept"] for one in Store(again).finished()] == told
        if not stopped:
            break
    assert kills > 20
