"""A real HTTP server on loopback that does what a test tells it to, faults included."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    """What the server does with one request.

    Attributes:
        status: Of the reply.
        body: Bytes as they are, or what becomes JSON.
        headers: More of them.
        wait_s: Before anything is sent.
        fault: "drop" closes the connection without a word, "truncate" in the middle of the body, "drip" sends a byte
            every tenth of a second.
    """

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    wait_s: float = 0.0
    fault: str = ""


@dataclass
class Asked:
    path: str
    headers: dict[str, str]
    body: Any
    time: float


class Loopback:
    """A running server.

    Attributes:
        url: Of it.
        asked: All requests so far.
    """

    def __init__(self, act: Callable[[Asked], Answer]) -> None:
        self.asked: list[Asked] = []
        self.act = act
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.do_POST()

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(self.path, dict(self.headers), json.loads(raw) if raw else None, time.monotonic())
                outer.asked.append(asked)
                self.answer(outer.act(asked))

            def answer(self, answer: Answer) -> None:
                time.sleep(answer.wait_s)
                if answer.fault == "drop":
                    self.close_connection = True
                    return
                body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
                try:
                    self.send_response(answer.status)
                    self.send_header("Content-Length", str(len(body)))
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    if answer.fault == "truncate":
                        self.wfile.write(body[: len(body) // 2])
                        self.close_connection = True
                    elif answer.fault == "drip":
                        for byte in body:
                            self.wfile.write(bytes([byte]))
                            time.sleep(0.1)
                    else:
                        self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=lambda: self.server.serve_forever(0.01), daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Die: the port refuses connections from now on."""
        self.server.shutdown()
        self.server.server_close()


@contextmanager
def loopback(act: Callable[[Asked], Answer]) -> Iterator[Loopback]:
    """A server for the length of a block."""
    server = Loopback(act)
    try:
        yield server
    finally:
        server.stop()


def chat_answer(text: str, **more: Any) -> dict[str, Any]:
    """What a chat server replies."""
    return {
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}} | more]
    }
