"""What was fetched is shared by all processes, takes no more room than it may, and is never half there."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from io import BufferedRandom
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.data import DataError
from omnigen2.data.remote.cache import Cache, in_use, locked
from omnigen2.data.remote.remote_files import RemoteFiles, RemoteSettings, open_remote
from tests.data.remote.servers import WebServer
from tests.data.remote.test_remote import names

FORK = multiprocessing.get_context("fork")
LIMIT_S = 60


def fill(cache: Cache, name: str, size: int, keep: tuple[Path, ...] = (), must: bool = True) -> bool:
    """Whether the file had to be written."""
    written: list[bool] = []

    def write(draft: BufferedRandom) -> None:
        written.append(cache.reserve(draft, size, keep, must))
        draft.write(b"x" * size)

    file = cache.folder / "source" / "version" / f"{name}.bin"
    file.parent.mkdir(parents=True, exist_ok=True)
    cache.fill(file, write)
    assert file.stat().st_size == size
    return bool(written)


def held(cache: Cache) -> int:
    return sum(file.stat().st_size for file in cache.folder.rglob("*") if file.is_file())


@given(
    asked=st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=30), room=st.integers(1, 7), size=st.integers(1, 5)
)
def test_what_was_not_used_for_longest_makes_room(
    asked: list[str], room: int, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = Cache(tmp_path_factory.mktemp("cache"), room * size)
    recent: list[str] = []
    for name in asked:
        assert fill(cache, name, size) == (name not in recent)
        recent = [*(other for other in recent if other != name), name][-room:]
        assert held(cache) == len(recent) * size
        assert {file.stem for file in cache.folder.rglob("*.bin")} == set(recent)


def test_what_is_announced_stays_and_what_is_needed_comes_all_the_same(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 2)
    files = {name: tmp_path / "source/version" / f"{name}.bin" for name in "abc"}
    fill(cache, "a", 1)
    fill(cache, "b", 1)
    fill(cache, "c", 1, keep=(files["a"],))
    assert [file.exists() for file in files.values()] == [True, False, True]
    fill(cache, "b", 1, keep=(files["a"], files["c"]))
    assert held(cache) == 3
    with locked(tmp_path / "source/version/.d.bin.part") as draft:
        assert draft is not None
        assert not cache.reserve(draft, 1, tuple(files.values()), must=False)


def test_a_draft_of_the_dead_makes_room_and_one_of_the_living_does_not(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 3)
    fill(cache, "a", 1)
    dead, living = (tmp_path / "source/version" / f".{name}.part" for name in ("dead", "living"))
    dead.write_bytes(b"xx")
    with locked(living) as draft:
        assert draft is not None
        draft.truncate(2)
        fill(cache, "b", 1)
    assert (dead.exists(), living.exists()) == (False, True)


def test_what_a_version_has_beside_its_chunks_stays_while_it_is_read(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 2)
    index = tmp_path / "source/old/index.json"
    with in_use(index.parent):
        index.write_bytes(b"{}")
        fill(cache, "a", 1)
        assert index.exists()
    fill(cache, "b", 1)
    assert not index.exists()


def test_room_that_cannot_be_had_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"OMNIGEN2_CACHE_GB"):
        fill(Cache(tmp_path, 2), "a", 3)
    assert held(Cache(tmp_path)) == 0
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="takes no data"), Cache(tmp_path / "file", 9).told():
        in_use(tmp_path / "file/source")
    monkeypatch.setenv("OMNIGEN2_CACHE_GB", "many")
    with pytest.raises(DataError, match="OMNIGEN2_CACHE_GB is 'many'"):
        Cache.of_environment()
    monkeypatch.setenv("OMNIGEN2_CACHE_GB", "0.5")
    assert Cache.of_environment().limit == 500_000_000


def test_of_many_who_want_a_file_at_once_one_writes_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 100)
    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            assert sum(pool.map(lambda _, name=str(number): fill(cache, name, 1), range(8))) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_whoever_waits_goes_on_when_the_writer_ends_even_if_it_forked(fails: bool, tmp_path: Path) -> None:
    cache, file = Cache(tmp_path, 100), tmp_path / "file.bin"
    waiting = threading.Thread(target=cache.fill, args=(file, lambda draft: draft.writelines([b"second"])), daemon=True)
    fork = FORK.Process(target=time.sleep, args=(LIMIT_S,))

    def write(draft: BufferedRandom) -> None:
        draft.write(b"first")
        fork.start()
        waiting.start()
        waiting.join(0.2)
        if fails:
            raise KeyError

    try:
        with pytest.raises(KeyError) if fails else nullcontext():
            cache.fill(file, write)
        waiting.join(LIMIT_S / 4)
        assert not waiting.is_alive()
        assert file.read_bytes() == (b"second" if fails else b"first")
    finally:
        fork.kill()
        fork.join()


def test_one_process_fetches_and_the_others_wait(web: WebServer, written: Path, settings: RemoteSettings) -> None:
    files = open_remote(f"{web.url}/data/all", settings)
    first = names(written)[0]
    web.faults[first] = ["slow"]
    others = [FORK.Process(target=files.need, args=(first,)) for _ in range(4)]
    for other in others:
        other.start()
    for other in others:
        other.join(LIMIT_S)
    assert [other.exitcode for other in others] == [0] * 4
    assert web.asked[first] == 1


def test_whoever_dies_on_the_way_holds_nobody_up(web: WebServer, written: Path, settings: RemoteSettings) -> None:
    files = open_remote(f"{web.url}/data/all", settings)
    first = names(written)[0]
    web.faults[first] = ["stall"]
    dying = FORK.Process(target=files.need, args=(first,))
    dying.start()
    wait(lambda: web.asked[first] == 1)
    assert dying.pid is not None
    os.kill(dying.pid, signal.SIGKILL)
    assert files.need(first).read_bytes() == (written / first).read_bytes()
    dying.join(LIMIT_S)


def test_ctrl_c_ends_a_fetch_and_leaves_no_draft(web: WebServer, written: Path, settings: RemoteSettings) -> None:
    files = open_remote(f"{web.url}/data/all", settings)
    first = names(written)[0]
    web.faults[first] = ["stall"]

    def press() -> None:
        wait(lambda: web.asked[first] == 1)
        os.kill(os.getpid(), signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    with pytest.raises(KeyboardInterrupt):
        files.need(first)
    pressing.join(LIMIT_S)
    assert not any(first in file.name for file in files.root.iterdir())


def test_a_fork_has_threads_and_connections_of_its_own(web: WebServer, written: Path, settings: RemoteSettings) -> None:
    files = open_remote(f"{web.url}/data/all", settings)
    busy, free = names(written)[:2], names(written)[2:]
    for name in busy:
        web.faults[name] = ["stall"]
    files.soon(busy)
    wait(lambda: web.asked[busy[0]] == web.asked[busy[1]] == 1)

    def fetch_ahead() -> None:
        files.soon(free)
        wait(lambda: all((files.root / name).exists() for name in free), seconds=LIMIT_S / 4)

    fork = FORK.Process(target=fetch_ahead)
    fork.start()
    fork.join(LIMIT_S)
    assert fork.exitcode == 0


def test_no_threads_are_left_when_all_is_there_or_nobody_wants_it(
    web: WebServer, written: Path, settings: RemoteSettings
) -> None:
    files = open_remote(f"{web.url}/data/all", settings)
    files.soon(names(written))
    wait(lambda: all((files.root / name).exists() for name in names(written)) and not ahead())
    again = open_remote(f"{web.url}/data/all", replace(settings, cache=Cache(settings.cache.folder / "other", 10**9)))
    for name in names(written):
        web.faults[name] = ["slow"]
    again.soon(names(written))
    root = again.root
    del again
    wait(lambda: not ahead())
    assert len(list(root.glob("*.bin"))) < len(names(written))


def test_a_plan_takes_the_place_of_the_last_one_and_ends_with_a_fault(
    web: WebServer, written: Path, settings: RemoteSettings
) -> None:
    files = open_remote(f"{web.url}/data/all", replace(settings, threads=1))
    first, *_, wrong, last = names(written)
    web.faults[first] = ["slow"]
    files.soon(names(written))
    wait(lambda: web.asked[first] == 1)
    files.soon([last])
    wait(lambda: not ahead())
    assert {file.name for file in files.root.glob("*.bin")} == {first, last}
    web.faults[wrong] = [403] * 2
    files.soon([wrong, *names(written)])
    wait(lambda: not ahead())
    assert {file.name for file in files.root.glob("*.bin")} == {first, last}
    with pytest.raises(DataError, match="may not be read"):
        files.need(wrong)


def test_no_more_is_fetched_ahead_than_there_is_room_for(
    web: WebServer, written: Path, settings: RemoteSettings
) -> None:
    sizes = {file.name: file.stat().st_size for file in written.iterdir()}
    limit = sum(size for name, size in sizes.items() if name not in names(written)) + 3 * max(sizes.values())
    cache = Cache(settings.cache.folder, limit)
    files: RemoteFiles = open_remote(f"{web.url}/data/all", replace(settings, cache=cache, threads=1))
    files.soon(names(written))
    wait(lambda: not ahead())
    there = {file.name for file in files.root.glob("*.bin")}
    assert there
    assert there == set(names(written)[: len(there)])
    assert held(cache) <= limit
    assert files.need(names(written)[-1]).exists()


def ahead() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "omnigen2-ahead"]


def wait(for_it: Callable[[], bool], seconds: float = LIMIT_S) -> None:
    end = time.monotonic() + seconds
    while not for_it():
        assert time.monotonic() < end
        time.sleep(0.01)
