"""JSON over HTTP to one or several servers: bounded, with a deadline, and with retries where they can help.

Retried are transport errors (no connection, cut off, too slow), status 429 and 5xx, each time on another server if
there is one that has not just failed. A call that gets no answer in all its attempts, or before the deadline, is a
transient `Failure`. A bad answer (another status, no JSON object, not what the caller can use) is asked of each other
server once, and the server that gave it rests; if all give bad ones, the last of them is the answer.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import httpx

from omnigen2.rl.reward import Failure, RewardError
from omnigen2.rl.rewards.remote.replies import UNREADABLE, Reply, Retry, read_reply, retry_after

NO_ANSWER = "no answer"
"""Cause of a call that no server has answered, however often it was tried."""
DEADLINE = "deadline"
"""Cause of a call that was not finished when the time of the whole batch was over."""
REST_S = 15.0
"""A server that has failed is asked again after this time, or at once if no other is left."""
MAX_REPLY_BYTES = 32 * 1024 * 1024

Call: TypeAlias = Callable[[], Mapping[str, Any]]
"""Makes the body when its turn comes, so that not all pictures are encoded at once."""
Usable: TypeAlias = Callable[[int, Reply], bool]
"""Whether the reply to the call of that number is one that the caller can use."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is asked of the servers, and how long they are waited for.

    Attributes:
        concurrency: Calls that are under way at once, over all servers.
        timeout_s: Seconds for one attempt as a whole, the reading of the reply included.
        deadline_s: Seconds for a whole batch of calls with all their retries.
        attempts: How often a call is tried in all.
        backoff_s: Seconds before the second attempt; doubled for each further one, with a random part, up to a minute.
            A server's own `Retry-After` is waited for where it is longer, up to two minutes.

    Raises:
        RewardError: If a number is not positive.
    """

    concurrency: int = 8
    timeout_s: float = 120.0
    deadline_s: float = 900.0
    attempts: int = 5
    backoff_s: float = 1.0

    def __post_init__(self) -> None:
        if min(self.concurrency, self.timeout_s, self.deadline_s, self.attempts) <= 0 or self.backoff_s < 0:
            raise RewardError(f"all limits must be positive, got {self}; correct the one that is not")


class JsonPoster:
    """Posts JSON to servers that all do the same.

    Args:
        urls: Such as `http://127.0.0.1:8000`; at least one, without user names or passwords.
        key_variable: The environment variable that has the key or token; sent as `Authorization: Bearer …`, never
            written anywhere. None if the servers want none.

    Raises:
        RewardError: If there is no URL, or one that cannot be used.
    """

    def __init__(self, urls: Sequence[str], limits: Limits | None = None, key_variable: str | None = None) -> None:
        if not urls:
            raise RewardError("no server is named; give at least one URL such as http://127.0.0.1:8000")
        for number, url in enumerate(urls, 1):
            if not _usable(url):
                raise RewardError(
                    f"URL {number} of {len(urls)} cannot be used; write http://HOST:PORT, and put keys into an "
                    "environment variable"
                )
        self.urls = tuple(url.rstrip("/") for url in urls)
        self.limits = limits or Limits()
        self.key_variable = key_variable
        self._rests_until = [0.0] * len(urls)
        self._busy = [0] * len(urls)
        self._jitter = random.Random(0)  # noqa: S311  (spreads retries, nothing secret)

    def post_all(
        self, path: str, calls: Sequence[Call], usable: Usable = lambda number, reply: True
    ) -> list[Reply | Failure]:
        """Make calls to one path, such as `/score`, side by side.

        Returns:
            For each call, in order, the JSON object that a server answered with status 200, or why there is none.

        Raises:
            RewardError: If the environment variable of the key is not set.
        """
        return _run(self._post_all(path, calls, usable, self._key()))

    def get_each(self, path: str) -> list[Reply | Failure]:
        """Ask every server once, without retries: one answer or failure per URL, in their order.

        Raises:
            RewardError: If the environment variable of the key is not set.
        """
        return _run(self._get_each(path, self._key()))

    def _key(self) -> str | None:
        if self.key_variable is None:
            return None
        key = os.environ.get(self.key_variable, "")
        if not key or not key.isascii() or not key.isprintable():
            raise RewardError(
                f"the environment variable {self.key_variable} has no usable key; set it, or name no key_variable "
                "if the server wants none"
            )
        return key

    async def _get_each(self, path: str, key: str | None) -> list[Reply | Failure]:
        async def ask(number: int, url: str) -> Reply | Failure:
            try:
                return await self._attempt(client, "GET", url + path, None, key)
            except Retry as retry:
                return _no_answer(f"{retry.problem} from server {number} of {len(self.urls)}")

        async with httpx.AsyncClient(headers=_headers(key), timeout=self.limits.timeout_s) as client:
            return await asyncio.gather(*(ask(number, url) for number, url in enumerate(self.urls, 1)))

    async def _post_all(
        self, path: str, calls: Sequence[Call], usable: Usable, key: str | None
    ) -> list[Reply | Failure]:
        found: list[Reply | Failure | None] = [None] * len(calls)
        slots = asyncio.Semaphore(self.limits.concurrency)
        self._busy = [0] * len(self.urls)
        limits = httpx.Limits(max_connections=self.limits.concurrency)

        async def fill(number: int) -> None:
            async def ask(server: int) -> Reply | Failure:
                return await self._attempt(client, "POST", self.urls[server] + path, calls[number], key)

            def good(answer: Reply | Failure) -> bool:
                return not isinstance(answer, Failure) and usable(number, answer)

            found[number] = await self._ask(slots, ask, good)

        try:
            async with (
                asyncio.timeout(self.limits.deadline_s),
                httpx.AsyncClient(headers=_headers(key), timeout=self.limits.timeout_s, limits=limits) as client,
                asyncio.TaskGroup() as group,
            ):
                for number in range(len(calls)):
                    group.create_task(fill(number))
        except TimeoutError:
            pass  # what is not filled was not finished: below
        late = Failure(DEADLINE, f"not finished within {self.limits.deadline_s:g} s", transient=True)
        return [late if one is None else one for one in found]

    async def _ask(
        self,
        slots: asyncio.Semaphore,
        ask: Callable[[int], Coroutine[Any, Any, Reply | Failure]],
        good: Callable[[Reply | Failure], bool],
    ) -> Reply | Failure:
        """One call, at one server after another."""
        problem, pause, attempt = "", 0.0, 0
        bad: set[int] = set()
        while attempt < self.limits.attempts:
            async with slots:
                server = self._choose(bad)
                self._busy[server] += 1
                try:
                    answer = await ask(server)
                    if good(answer):
                        self._rests_until[server] = 0.0
                        return answer
                    bad.add(server)
                    self._rests_until[server] = time.monotonic() + REST_S
                    if len(bad) == len(self.urls):
                        return answer
                    continue
                except Retry as retry:
                    problem = f"{retry.problem} from server {server + 1} of {len(self.urls)}"
                    pause = self._pause(server, attempt, retry.after_s, bad)
                finally:
                    self._busy[server] -= 1
            attempt += 1
            if attempt < self.limits.attempts:
                await asyncio.sleep(pause)
        return _no_answer(f"{problem} in the last of {self.limits.attempts} attempts")

    async def _attempt(
        self, client: httpx.AsyncClient, method: str, url: str, call: Call | None, key: str | None
    ) -> Reply | Failure:
        body = None if call is None else json.dumps(call()).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(self.limits.timeout_s),
                client.stream(method, url, content=body, headers=headers) as answer,
            ):
                content = bytearray()
                async for chunk in answer.aiter_bytes():
                    content += chunk
                    if len(content) > MAX_REPLY_BYTES:
                        return Failure(UNREADABLE, f"more than {MAX_REPLY_BYTES} bytes")
        except TimeoutError:
            raise Retry("nothing in time") from None
        except httpx.DecodingError:
            return Failure(UNREADABLE, "its compression is broken")
        except httpx.TransportError as error:
            raise Retry(type(error).__name__) from None
        return read_reply(answer.status_code, retry_after(answer), bytes(content), key)

    def _choose(self, bad: set[int]) -> int:
        """The server without a bad answer to this call that is not resting, has the fewest calls, and comes first."""
        now = time.monotonic()
        able = (i for i in range(len(self.urls)) if i not in bad)
        return min(able, key=lambda i: (max(0.0, self._rests_until[i] - now), self._busy[i], i))

    def _pause(self, failed: int, attempt: int, after_s: float, bad: set[int]) -> float:
        """Let the server rest; wait not at all if another one is awake that has no bad answer to this call."""
        now = time.monotonic()
        self._rests_until[failed] = now + max(REST_S, after_s)
        if any(until <= now for server, until in enumerate(self._rests_until) if server not in bad):
            return 0.0
        backoff = min(60.0, self.limits.backoff_s * 2**attempt) * (0.5 + 0.5 * self._jitter.random())
        return max(backoff, after_s)


def _run(work: Coroutine[Any, Any, list[Reply | Failure]]) -> list[Reply | Failure]:
    """Do it to its end, also where the caller's own event loop is running, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _usable(url: str) -> bool:
    try:
        parts, name = urlsplit(url), httpx.URL(url).host
        has_host = bool(name.encode("idna")) and parts.port != 0
    except (ValueError, httpx.InvalidURL):
        return False
    return has_host and parts.scheme in ("http", "https") and not parts.query and parts.username is None


def _headers(key: str | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def _no_answer(detail: str) -> Failure:
    return Failure(NO_ANSWER, detail, transient=True)
