"""Faults of reward servers, made of what an honest one answers."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from omnigen2.rl.rewards.remote.remote import RemoteReward
from omnigen2.rl.rewards.remote.server import RewardService, ServerLimits
from omnigen2.rl.rewards.remote.transport import Limits
from tests.rl.brightness import Brightness
from tests.rl.loopback import Answer, Asked, Loopback

QUICK = Limits(concurrency=4, timeout_s=0.4, deadline_s=20, attempts=4, backoff_s=0.001)
PASSING = ("drop", "truncate", "500", "503", "429", "slow", "drip")
"""Faults after which it is asked again."""
LASTING = (
    "garbage",
    "list",
    "short",
    "long",
    "nan",
    "swapped",
    "stale",
    "outside",
    "text",
    "400",
    "no parts",
    "nan part",
    "inf part",
    "true",
)
"""Replies that are no scores of these pictures."""
HARMLESS = ("shuffled", "good")


def truth(asked: Asked) -> dict[str, Any]:
    """What an honest server answers."""
    return RewardService(Brightness(), ServerLimits()).score(json.dumps(asked.body).encode())


def faulty(kind: str, asked: Asked) -> Answer:
    """One fault, made of the honest answer."""
    honest = truth(asked)
    scores = honest["scores"]
    match kind:
        case "drop" | "truncate":
            return Answer(body=honest, fault=kind)
        case "drip":
            return Answer(body=honest, fault=kind)
        case "slow":
            return Answer(body=honest, wait_s=0.6)
        case "500" | "503" | "429" | "400":
            return Answer(int(kind), {"error": "no"})
        case "garbage":
            return Answer(body=b"\x00\xff{")
        case "list":
            return Answer(body=scores)
        case "short":
            return Answer(body={"scores": scores[:-1]})
        case "long":
            return Answer(body={"scores": [*scores, scores[0]]})
        case "nan":
            return Answer(body={"scores": [score | {"value": float("nan")} for score in scores]})
        case "nan part" | "inf part":
            return Answer(body={"scores": [score | {"parts": {"red": float(kind[:3])}} for score in scores]})
        case "swapped":
            digests = [score["digest"] for score in scores]
            turned = [score | {"digest": digests[i - 1] + "x"} for i, score in enumerate(scores)]
            return Answer(body={"scores": turned})
        case "stale":
            return Answer(body={"scores": [score | {"id": "0123-0"} for score in scores]})
        case "outside":
            return Answer(body={"scores": [score | {"value": 12.5} for score in scores]})
        case "text":
            return Answer(body={"scores": [score | {"value": "0.9"} for score in scores]})
        case "true":
            return Answer(body={"scores": [score | {"value": True} for score in scores]})
        case "no parts":
            return Answer(body={"scores": [score | {"parts": {}} for score in scores]})
        case "shuffled":
            random.Random(0).shuffle(scores)
            return Answer(body=honest)
        case "good":
            return Answer(body=honest)
    raise AssertionError(kind)


def remote(*urls: str, batch_size: int = 2, limits: Limits = QUICK, **more: Any) -> RemoteReward:
    return RemoteReward(urls, -1, 1, ["red"], batch_size, limits=limits, **more)


@contextmanager
def served(*acts: Callable[[Asked], Answer]) -> Iterator[list[Loopback]]:
    """Several servers."""
    servers = [Loopback(act) for act in acts]
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()
