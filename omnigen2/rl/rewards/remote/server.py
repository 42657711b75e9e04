"""A small HTTP server that hosts any reward next to its device: JSON with PNG files, nothing that executes code."""

import asyncio
import hmac
import json
import math
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.middleware.base import RequestResponseEndpoint
from starlette.requests import ClientDisconnect

from omnigen2.rl.reward import Reward, RewardError, check_scores
from omnigen2.rl.rewards.remote.wire import PictureLimits, UnwritableTextError, pack_scores, unpack_request


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """What the server takes.

    Attributes:
        request_bytes: Of one call.
        pictures: Requests in one call.
        references: Of all requests of one call.
        pixels: Of one picture.
        call_pixels: Of all pictures of one call, which are decoded when its turn comes.
        marks: Commas and brackets of one call, which bound what its JSON becomes in memory.
        waiting: Calls that arrive or wait for their turn; more are told to come back (status 429).
        waiting_bytes: Of all of them; whoever sends more is told to come back.
        arrival_s: Seconds in which a call must have arrived.
    """

    request_bytes: int = 64 * 1024 * 1024
    pictures: int = 64
    references: int = 320
    pixels: int = 4096 * 4096
    call_pixels: int = 4 * 4096 * 4096
    marks: int = 1_000_000
    waiting: int = 64
    waiting_bytes: int = 512 * 1024 * 1024
    arrival_s: float = 60.0


@dataclass(slots=True)
class Counts:
    """What has happened since the start, for `/metrics`.

    Attributes:
        calls: By status.
        pictures: Scored ones.
        invalid: Pictures that got no score, by cause.
        seconds: Spent in the reward.
        waiting: Calls that arrive, wait or are being scored.
        waiting_bytes: Of them, as far as they have arrived.
    """

    calls: Counter[int] = field(default_factory=Counter[int])
    pictures: int = 0
    invalid: Counter[str] = field(default_factory=Counter[str])
    seconds: float = 0.0
    waiting: int = 0
    waiting_bytes: int = 0

    def text(self) -> str:
        """In the format that Prometheus reads."""
        lines = [f'omnigen2_reward_calls_total{{status="{status}"}} {n}' for status, n in sorted(self.calls.items())]
        lines += [f"omnigen2_reward_pictures_total {self.pictures}"]
        lines += [
            f"omnigen2_reward_invalid_total{{cause={json.dumps(c)}}} {n}" for c, n in sorted(self.invalid.items())
        ]
        lines += [f"omnigen2_reward_seconds_total {self.seconds:.3f}", f"omnigen2_reward_waiting {self.waiting}"]
        return "\n".join(lines) + "\n"


class RewardService:
    """Answers calls with a reward, one at a time.

    Args:
        reward: What it hosts; a call that makes it raise gets status 422 for a `RewardError`, else 500.
        token: If given, every call needs `Authorization: Bearer TOKEN`.
        limits: What is taken.

    Raises:
        RewardError: If the reward's range is not finite: JSON cannot say it.
    """

    def __init__(self, reward: Reward, token: str | None = None, limits: ServerLimits | None = None) -> None:
        if not (math.isfinite(reward.low) and math.isfinite(reward.high)):
            raise RewardError(
                f"{type(reward).__name__} has the range [{reward.low}, {reward.high}], and what is served needs a "
                "finite one; wrap it in omnigen2.rl.Clipped"
            )
        self.reward = reward
        self.token = token
        self.limits = limits or ServerLimits()
        self.counts = Counts()
        self._turn = threading.Lock()

    async def guard(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        """Let nobody in without the token, and count every call."""
        given = request.headers.get("Authorization", "")
        allowed = self.token is None or hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode())
        status = 500  # of a call that raises
        try:
            answer = await call_next(request) if allowed else _error(401, "the token is missing or wrong")
            status = answer.status_code
            return answer
        finally:
            self.counts.calls[status] += 1

    async def score(self, request: Request) -> Response:
        """POST /score."""
        if self.counts.waiting >= self.limits.waiting:
            return _error(429, "too many calls are waiting", {"Retry-After": "1"})
        self.counts.waiting += 1
        body = bytearray()
        try:
            refusal = await self._arrive(request, body)
            if refusal is not None:
                return refusal
            content = await run_in_threadpool(self.answer, bytes(body))
            return Response(json.dumps(content), media_type="application/json")
        except UnwritableTextError as error:
            return _error(400, str(error))
        except RewardError as error:
            return _error(422, str(error))
        except ClientDisconnect:
            return _error(400, "the call broke off")  # nobody reads it
        finally:
            self.counts.waiting -= 1
            self.counts.waiting_bytes -= len(body)

    async def _arrive(self, request: Request, body: bytearray) -> Response | None:
        """Wait for the body, or say why it is not waited for any longer."""
        limits = self.limits
        try:
            async with asyncio.timeout(limits.arrival_s):
                async for chunk in request.stream():
                    body += chunk
                    self.counts.waiting_bytes += len(chunk)
                    if len(body) > limits.request_bytes:
                        return _error(413, f"more than {limits.request_bytes} bytes")
                    if self.counts.waiting_bytes > limits.waiting_bytes:
                        return _error(429, "the waiting calls are too large together", {"Retry-After": "1"})
        except TimeoutError:
            return _error(408, f"the call has not arrived within {limits.arrival_s:g} s", {"Connection": "close"})
        return None

    async def metrics(self) -> Response:
        """GET /metrics."""
        return PlainTextResponse(self.counts.text())

    async def health(self) -> dict[str, Any]:
        """GET /health: what is hosted."""
        reward = self.reward
        return {
            "status": "ok",
            "reward": type(reward).__name__,
            "description": reward.description,
            "low": reward.low,
            "high": reward.high,
            "part_names": list(reward.part_names),
        }

    def answer(self, body: bytes) -> dict[str, Any]:
        """Answer the body `{"requests": […]}` with `{"scores": […]}`.

        Raises:
            RewardError: If the call cannot be answered and would not be if it were repeated.
        """
        if sum(map(body.count, (b",", b"[", b"{"))) > self.limits.marks:
            raise RewardError(f"the body has more than {self.limits.marks} commas and brackets; send smaller calls")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise RewardError("the body is no JSON; send an object with requests") from None
        items = found.get("requests") if isinstance(found, dict) else None
        if not isinstance(items, list) or len(items) > self.limits.pictures:
            number = len(items) if isinstance(items, list) else "no list of"
            raise RewardError(f"got {number} requests, at most {self.limits.pictures} are taken; send smaller calls")
        references = sum(len(item["references"]) for item in items if _has_references(item))
        if references > self.limits.references:
            raise RewardError(
                f"got {references} references, at most {self.limits.references} are taken; send smaller calls"
            )
        with self._turn:  # decoded pictures of one call at a time are in memory
            limits = PictureLimits(self.limits.pixels, self.limits.call_pixels)
            received = [unpack_request(item, limits) for item in items]
            requests = [one.request for one in received]
            start = time.perf_counter()
            scores = check_scores(self.reward, requests, self.reward.score(requests))
            self.counts.seconds += time.perf_counter() - start
            self.counts.pictures += len(requests)
            self.counts.invalid.update(scores.causes())
        return {"scores": pack_scores(scores, received)}


def application(reward: Reward, token: str | None = None, limits: ServerLimits | None = None) -> FastAPI:
    """What uvicorn, or any other ASGI server with one process, runs to host a reward: see `RewardService`."""
    service = RewardService(reward, token, limits)
    app = FastAPI(title="omnigen2 reward", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(service.guard)
    app.add_api_route("/score", service.score, methods=["POST"], response_model=None)
    app.add_api_route("/health", service.health, methods=["GET"])
    app.add_api_route("/metrics", service.metrics, methods=["GET"], response_model=None)
    return app


def _has_references(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("references"), list)


def _error(status: int, problem: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": problem}, status_code=status, headers=headers)
