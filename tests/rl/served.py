"""A reward server of our own in a thread."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from omnigen2.rl.rewards.remote.server import ServerLimits, application
from tests.rl.brightness import Brightness


@contextmanager
def serving(token: str | None = None, limits: ServerLimits | None = None) -> Iterator[str]:
    """A server with the brightness reward; its address."""
    server = uvicorn.Server(uvicorn.Config(application(Brightness(), token, limits), log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
