"""Faulty servers on loopback that hold folders of chunks: a real S3 server behind a proxy, a web server with ranges."""

import http.client
import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

STALL_S = 30.0
"""Longer than the tests wait for a byte."""
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "hunter2hunter2",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Server:
    """Answers GET requests, with the faults that a test asks for.

    Attributes:
        url: Of it.
        faults: By name of a file: what is wrong with the next answers, one after the other. A number is a status;
            "drop" closes the connection, "stall" is silent for long, "half" breaks off, "flip" changes a byte,
            "slow" takes a while.
        asked: How often each file was asked for.
        ranges: The ranges that were asked for.
    """

    def __init__(self) -> None:
        self.faults: defaultdict[str, list[int | str]] = defaultdict(list)
        self.asked: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.closing = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                name = unquote(self.path.split("?")[0].rpartition("/")[2])
                outer.asked[name] += 1
                outer.headers.append(dict(self.headers))
                outer.ranges += filter(None, [self.headers.get("Range")])
                fault = outer.faults[name].pop(0) if outer.faults[name] else None
                if isinstance(fault, int):
                    self.send(Answer(fault, {"Retry-After": "0"}, b"no"))
                elif fault == "drop":
                    self.close_connection = True
                else:
                    outer.closing.wait({"stall": STALL_S, "slow": 0.3}.get(fault or "", 0))
                    self.send(outer.answer(self.path, self.headers), fault)

            def send(self, answer: Answer, fault: str | None = None) -> None:
                body = answer.body
                try:
                    self.send_response(answer.status)
                    self.send_header("Content-Length", str(len(body)))
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    if fault == "half":
                        body, self.close_connection = body[: len(body) // 2], True
                    if fault == "flip":
                        body = body[:-1] + bytes([body[-1] ^ 1])
                    self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda request, client_address: None
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=lambda: self.server.serve_forever(0.01), daemon=True).start()

    def answer(self, path: str, headers: Mapping[str, str]) -> Answer:
        raise NotImplementedError

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


class WebServer(Server):
    """Files of folders, by the beginning of their path; it knows ranges."""

    def __init__(self, **folders: Path) -> None:
        self.folders = {place.replace("__", "/"): folder for place, folder in folders.items()}
        super().__init__()

    def answer(self, path: str, headers: Mapping[str, str]) -> Answer:
        place, _, name = unquote(path.lstrip("/")).rpartition("/")
        folder = self.folders.get(place)
        if folder is None or not (folder / name).is_file():
            return Answer(404, {}, b"<html>no</html>")
        content = (folder / name).read_bytes()
        etag = f'"{hash(content)}"'
        wanted = headers.get("Range", "bytes=0-")
        if "Range" in headers and headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            return Answer(206, {"ETag": etag}, content[start:])
        return Answer(200, {"ETag": etag}, content)


class Proxy(Server):
    """Passes on what another server says."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        super().__init__()

    def answer(self, path: str, headers: Mapping[str, str]) -> Answer:
        upstream = http.client.HTTPConnection(self.host, self.port, timeout=20)
        upstream.request("GET", path, headers=dict(headers))
        reply = upstream.getresponse()
        passed = {name: value for name, value in reply.getheaders() if name.lower() in ("etag", "content-type")}
        return Answer(reply.status, passed, reply.read())


@contextmanager
def s3_server() -> Iterator[tuple[Any, Proxy]]:
    """moto's S3 server: a client that writes into it, and the proxy that readers go through."""
    from boto3.session import Session
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    session = Session(*list(KEYS.values())[:2], region_name="us-east-1")
    proxy = Proxy(host, port)
    try:
        yield session.client("s3", endpoint_url=f"http://{host}:{port}"), proxy
    finally:
        proxy.close()
        moto.stop()


def upload(client: Any, folder: Path, bucket: str, prefix: str) -> None:
    """Copy a folder into a bucket that everybody may read."""
    client.create_bucket(Bucket=bucket)
    for file in folder.iterdir():
        client.put_object(Bucket=bucket, Key=f"{prefix}/{file.name}", Body=file.read_bytes(), ACL="public-read")
