"""A folder far away is what it is on the disk, however its server behaves; what was fetched is not fetched again."""

import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from torch.utils.data import DataLoader

from omnigen2.data import DataError
from omnigen2.data.remote import ChunkFiles, chunk_files, is_remote, read_remote, write_checksums
from omnigen2.data.remote.checksums import CHECKSUMS
from omnigen2.data.remote.fetch import Fetch, Patience, Stopped
from omnigen2.data.remote.remote_files import RemoteFiles, RemoteSettings, open_remote
from omnigen2.data.remote.store import Reply, Store
from tests.data.remote.servers import Proxy, WebServer

FOLDERS = {"s3": "s3://samples/all", "gs": "gs://samples/all/", "hf": "hf://datasets/me/tiny/all"}


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.glob("*.bin"))


def same(files: ChunkFiles, written: Path) -> bool:
    others = [file.name for file in written.iterdir() if file.suffix != ".bin"]
    chunks = all(files.need(name).read_bytes() == (written / name).read_bytes() for name in names(written))
    return chunks and all((files.root / name).read_bytes() == (written / name).read_bytes() for name in others)


@pytest.mark.parametrize("scheme", ["s3", "gs", "hf", "https"])
def test_a_folder_far_away_has_the_files_of_the_disk_and_each_is_got_once(
    scheme: str, s3: Proxy, web: WebServer, written: Path
) -> None:
    url = FOLDERS.get(scheme, f"{web.url}/data/all")
    server = s3 if scheme == "s3" else web
    for _ in range(2):
        files = chunk_files(url)
        assert same(files, written)
    assert server.asked == {file.name: 1 for file in written.iterdir()} | {CHECKSUMS: 2}


@pytest.mark.parametrize(
    ("scheme", "fault"),
    [("s3", 503), ("s3", "drop"), ("s3", "flip"), *(("https", fault) for fault in (500, 429, "drop", "half", "flip"))],
)
def test_a_fault_that_passes_costs_time_and_is_told(
    scheme: str, fault: int | str, s3: Proxy, web: WebServer, written: Path, settings: RemoteSettings,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server, url = (s3, FOLDERS["s3"]) if scheme == "s3" else (web, f"{web.url}/data/all")
    first, count = names(written)[0], 1 if fault == "flip" else 2
    for name in (first, CHECKSUMS, "samples.safetensors"):
        # a list of checksums is not known to be wrong before a file is compared with it
        server.faults[name] = [fault] * (0 if name == CHECKSUMS and fault == "flip" else count)
    files = open_remote(url, settings)
    assert same(files, written)
    assert server.asked[first] == server.asked["samples.safetensors"] == 1 + count
    told = capfd.readouterr().err
    assert f"{url}/{first}" in told
    assert f"(attempt {1 + count} of 4)" in told


@pytest.mark.parametrize("scheme", ["s3", "https"])
def test_a_server_that_falls_silent_is_asked_again(
    scheme: str, s3: Proxy, web: WebServer, written: Path, settings: RemoteSettings
) -> None:
    server, url = (s3, FOLDERS["s3"]) if scheme == "s3" else (web, f"{web.url}/data/all")
    first = names(written)[0]
    server.faults[first] = ["stall"]
    files = open_remote(url, replace(settings, patience=Patience(9, 0.01, 0.5)))
    assert files.need(first).read_bytes() == (written / first).read_bytes()
    assert server.asked[first] >= 2


@pytest.mark.parametrize("refused", [[], [412]])
@pytest.mark.parametrize("scheme", ["s3", "https"])
def test_what_broke_off_late_is_gone_on_with_or_got_anew(
    scheme: str, refused: list[int | str], s3: Proxy, web: WebServer, written: Path, settings: RemoteSettings
) -> None:
    server, url = (s3, FOLDERS["s3"]) if scheme == "s3" else (web, f"{web.url}/data/all")
    first = names(written)[0]
    server.faults[first] = ["half", *refused]
    size = (written / first).stat().st_size
    assert open_remote(url, settings).need(first).read_bytes() == (written / first).read_bytes()
    assert server.ranges == [f"bytes={size // 2}-"]


def test_what_nobody_wants_any_more_ends_between_two_blocks() -> None:
    stop, got = threading.Event(), BytesIO()

    class Endless(Store):
        url = "test://endless"

        @contextmanager
        def get(self, name: str, start: int = 0, etag: str = "") -> Iterator[Reply]:
            yield Reply(0, None, "", iter(self.block, None))

        def block(self) -> bytes:
            assert not stop.is_set()
            if len(got.getvalue()) == 3:
                stop.set()
            return b"x"

    with pytest.raises(Stopped):
        Fetch(Endless(), "x", got, stop=stop).run()
    assert got.getvalue() == b"xxxx"


@pytest.mark.parametrize("fault", [500, "flip", 403])
def test_a_fault_that_stays_is_told_and_leaves_nothing(
    fault: int | str, web: WebServer, written: Path, settings: RemoteSettings
) -> None:
    first = names(written)[0]
    web.faults[first] = [fault] * 50
    files = open_remote(f"{web.url}/data/all", settings)
    wanted = {
        500: r"4 attempts \(HTTP 500\)",
        "flip": "came with sha256 .* expected",
        403: r"may not be read \(HTTP 403\)",
    }
    with pytest.raises(DataError, match=wanted[fault]) as caught:
        files.need(first)
    assert str(caught.value).count("\n") == 1
    assert web.asked[first] == {500: 4, "flip": 2, 403: 1}[fault]
    assert not any(first in file.name for file in files.root.iterdir())


def test_what_is_announced_comes_by_itself_in_forked_workers_too(
    s3: Proxy, written: Path, settings: RemoteSettings
) -> None:
    files = open_remote(FOLDERS["s3"], settings)
    fetched = list(DataLoader(Announced(files, names(written)), batch_size=None, num_workers=2))
    assert fetched == [(written / name).read_bytes() for name in names(written)]
    assert all(s3.asked[name] == 1 for name in names(written))


class Announced:
    """A dataset of chunks, each of whose workers announces all of them."""

    def __init__(self, files: RemoteFiles, chunks: list[str]) -> None:
        self.files, self.chunks = files, chunks

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, index: int) -> bytes:
        self.files.soon(self.chunks[index:])
        return self.files.need(self.chunks[index]).read_bytes()


def test_files_may_be_sent_to_another_process(web: WebServer, written: Path, settings: RemoteSettings) -> None:
    files = open_remote(f"{web.url}/data/all", settings)
    sent: RemoteFiles = pickle.loads(pickle.dumps(files))
    assert same(sent, written)
    assert web.asked[CHECKSUMS] == 1
    assert sent.version == files.version


@pytest.mark.parametrize("how", ["chunk", "gone"])
def test_a_folder_that_is_replaced_is_never_mixed(
    how: str, web: WebServer, written: Path, settings: RemoteSettings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in written.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    web.folders["data/copy"] = folder
    files = open_remote(f"{web.url}/data/copy", settings)
    first, second, *_ = names(written)
    before = files.need(first).read_bytes()
    (folder / first).write_bytes((written / second).read_bytes())
    if how == "gone":
        (folder / second).unlink()
    else:
        (folder / second).write_bytes(before)
    write_checksums(folder)
    assert files.need(first).read_bytes() == before
    with pytest.raises(DataError, match="has been replaced since this run began"):
        files.need(second)
    later = open_remote(f"{web.url}/data/copy", settings)
    assert later.version != files.version
    assert later.need(first).read_bytes() == (written / second).read_bytes()
    assert "has changed since it was last read here" in capfd.readouterr().err


def test_small_files_are_read_or_are_not_there(web: WebServer, settings: RemoteSettings, written: Path) -> None:
    assert read_remote(f"{web.url}/data/all", "index.json") == (written / "index.json").read_bytes()
    assert read_remote(f"{web.url}/data/all", "report.json") is None


def test_only_urls_of_stores_are_far_away(written: Path) -> None:
    assert all(map(is_remote, ("s3://a/b", "gs://a", "hf://datasets/a/b", "https://a/b", "http://127.0.0.1/b")))
    assert not any(map(is_remote, ("/a/b", "a", "C:\\a", "file:///a", written)))
    local = chunk_files(written)
    assert (local.root, local.version) == (written, "")
    assert local.need("x") == written / "x"
