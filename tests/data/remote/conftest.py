"""One folder of chunks, on the disk and on servers; each test has a cache of its own."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from omnigen2.data.remote import write_checksums
from omnigen2.data.remote.cache import Cache
from omnigen2.data.remote.fetch import Patience
from omnigen2.data.remote.remote_files import RemoteSettings
from tests.data.remote.servers import KEYS, Proxy, WebServer, s3_server, upload


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as `omnigen2 data optimize` names them; nothing here reads their content."""
    folder = tmp_path_factory.mktemp("chunks")
    content = random.Random(0)
    for number in range(8):
        (folder / f"chunk-0-{number}.bin").write_bytes(content.randbytes(900 + number))
    (folder / "index.json").write_bytes(b"{}")
    (folder / "samples.safetensors").write_bytes(content.randbytes(300))
    write_checksums(folder)
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> RemoteSettings:
    return RemoteSettings(Cache(tmp_path / "cache", 10**9), patience=Patience(4, 0.01, 20))


@pytest.fixture
def no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is logged in anywhere, and no cache of the user's is touched."""
    for name in (*KEYS, "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_SKIP_SIGNATURE", "HF_TOKEN",
                 "GOOGLE_APPLICATION_CREDENTIALS", "OMNIGEN2_CACHE_GB", "OMNIGEN2_ALLOW_HTTP", "NETRC"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("OMNIGEN2_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def bucket(written: Path) -> Iterator[Proxy]:
    """`s3://samples/all` on moto's server, behind a proxy."""
    with s3_server() as (client, proxy):
        upload(client, written, "samples", "all")
        yield proxy


@pytest.fixture
def s3(bucket: Proxy, no_login: None, monkeypatch: pytest.MonkeyPatch) -> Proxy:
    """The same, and the environment that leads there."""
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": bucket.url}.items():
        monkeypatch.setenv(name, value)
    bucket.faults.clear()
    bucket.asked.clear()
    bucket.ranges.clear()
    bucket.headers.clear()
    return bucket


@pytest.fixture
def web(written: Path, no_login: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """The folder as it is found by https, by gs and by hf."""
    server = WebServer(data__all=written, samples__all=written, datasets__me__tiny__resolve__main__all=written)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url.removeprefix("http://"))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    yield server
    server.close()
