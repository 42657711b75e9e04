"""What a user has to mend is said at once, in two lines, without a secret."""

from pathlib import Path
from typing import Any

import pytest

from omnigen2.data import DataError
from omnigen2.data.remote import chunk_files, write_checksums
from omnigen2.data.remote.checksums import CHECKSUMS, Checksums
from tests.data.remote.servers import KEYS, Answer, Proxy, WebServer

SECRET = "hunter2"


def refused(url: str, match: str) -> str:
    with pytest.raises(DataError, match=match) as caught:
        chunk_files(url)
    lines = str(caught.value).split("\n")
    assert len(lines) == 2, lines
    assert SECRET not in str(caught.value)
    assert "AKIA" not in str(caught.value)
    return lines[1]


def closed_port() -> str:
    server = WebServer()
    server.close()
    return server.url


@pytest.mark.parametrize(
    ("url", "problem", "remedy"),
    [
        ("s3://nowhere/all", "there is no bucket 'nowhere'", "AWS_ENDPOINT_URL"),
        ("s3://samples/al", "there is no s3://samples/al/chunks.sha256; expected a folder", "check the folder"),
        ("s3://all", "there is no bucket", "check"),
        (f"s3://me:{SECRET}@samples/all", "s3://samples has a user name", "docs/data_far_away.md"),
        (f"https://h.org/all?X-Amz-Signature={SECRET}", "https://h.org has", "name the folder alone"),
        ("gs://samples/al", "there is no gs://samples/al/chunks.sha256", "check the folder"),
        ("hf://datasets/me/tiny/al", "there is no hf://datasets/me/tiny/al/chunks.sha256", "check the folder"),
        ("hf://me/tiny/all", "names no dataset", "hf://datasets/OWNER/NAME"),
        ("hf://datasets/me", "names no dataset", "hf://datasets/OWNER/NAME"),
        ("http://data.example/all", "http://data.example is not encrypted", "OMNIGEN2_ALLOW_HTTP"),
    ],
)
def test_a_wrong_url_is_told(url: str, problem: str, remedy: str, s3: Proxy, web: WebServer) -> None:
    assert remedy in refused(url, problem)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("scheme", ["s3", "gs", "hf", "https"])
def test_no_right_to_read_is_told_at_once(scheme: str, status: int, s3: Proxy, web: WebServer) -> None:
    url = {"s3": "s3://samples/all", "gs": "gs://samples/all", "hf": "hf://datasets/me/tiny/all"}
    server = s3 if scheme == "s3" else web
    server.faults[CHECKSUMS] = [status] * 9
    login = {"s3": "aws configure", "gs": "gcloud auth", "hf": "hf auth login", "https": ".netrc"}
    assert login[scheme] in refused(url.get(scheme, f"{web.url}/data/all"), "may not be read")
    assert server.asked[CHECKSUMS] == 1


def test_nobody_logged_in_is_told_before_anything_is_asked(s3: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    assert "AWS_PROFILE" in refused("s3://samples/all", "no AWS credentials")
    assert not s3.asked
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    assert chunk_files("s3://samples/all").version


@pytest.mark.parametrize("scheme", ["s3", "https"])
def test_no_connection_is_told_at_once(scheme: str, s3: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody := closed_port())
    url = "s3://samples/all" if scheme == "s3" else f"{nobody}/data/all"
    assert "check the network" in refused(url, "no connection to")


def test_a_token_is_sent_where_it_belongs_alone(
    web: WebServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    chunk_files("hf://datasets/me/tiny/all")
    assert all(headers["Authorization"] == f"Bearer {SECRET}" for headers in web.headers)
    web.headers.clear()
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    chunk_files(f"{web.url}/data/all")
    assert all(headers["Authorization"].startswith("Basic ") for headers in web.headers)
    assert {headers["Accept-Encoding"] for headers in web.headers} == {"identity"}


def test_a_server_that_leads_to_one_without_encryption_is_not_followed(
    web: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def elsewhere(path: str, headers: Any) -> Answer:
        return Answer(302, {"Location": "http://data.example/all/chunks.sha256"}, b"")

    monkeypatch.setattr(web, "answer", elsewhere)
    assert "use https" in refused(f"{web.url}/data/all", "http://data.example is not encrypted")


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "<html>\n",
        f"{'a' * 64}  ../index.json\n",
        f"{'a' * 64}  .ssh\n",
        f"{'a' * 63}  a\n",
        f"{'a' * 64}  a",
        f"x\n{'a' * 64}  a\n",
    ],
)
def test_a_list_of_checksums_is_read_strictly(lines: str, tmp_path: Path) -> None:
    (tmp_path / CHECKSUMS).write_text(lines)
    with pytest.raises(DataError, match=CHECKSUMS):
        Checksums(tmp_path / CHECKSUMS, CHECKSUMS)


def test_checksums_are_those_of_sha256sum_and_name_each_file(tmp_path: Path) -> None:
    (tmp_path / "chunk-0-0.bin").write_bytes(b"abc")
    (tmp_path / "chunk-0-00.bin").write_bytes(b"")
    (tmp_path / "index.json").write_bytes(b"{}")
    write_checksums(tmp_path)
    sums = Checksums(tmp_path / CHECKSUMS, CHECKSUMS)
    assert sums.of("chunk-0-0.bin") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sums.of("chunk-0-00.bin") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sums.others == ("index.json",)
    for name in ("0-0.bin", "chunk-0-1.bin", "chunk-0-0.bi"):
        with pytest.raises(DataError, match="does not name"):
            sums.of(name)
