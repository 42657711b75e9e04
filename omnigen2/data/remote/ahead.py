"""Fetching what will be needed, by a few threads, while something else goes on."""

import threading
from collections import deque
from collections.abc import Callable, Sequence


class Ahead:
    """Fetches files in the order of a plan; its threads are gone when the plan is done.

    Args:
        fetch: Gets one file. False or an error ends the plan: whoever needs a file asks for it again, and is told.
        threads: How many files are on their way at once.
    """

    def __init__(self, fetch: Callable[[str], bool], threads: int) -> None:
        self._fetch, self._threads = fetch, threads
        self._lock = threading.Lock()
        self._waiting: deque[str] = deque()
        self._running = 0

    def plan(self, names: Sequence[str]) -> None:
        """What to fetch now, in place of what is left of the plan before."""
        with self._lock:
            self._waiting = deque(names)
            for _ in range(min(self._threads, len(names)) - self._running):
                self._running += 1
                threading.Thread(target=self._work, name="omnigen2-ahead", daemon=True).start()

    def _work(self) -> None:
        going_on = True
        while True:
            with self._lock:
                if not going_on or not self._waiting:
                    self._waiting.clear()
                    self._running -= 1
                    return
                name = self._waiting.popleft()
            try:
                going_on = self._fetch(name)
            except Exception:  # noqa: BLE001  (told by whoever needs the file)
                going_on = False
