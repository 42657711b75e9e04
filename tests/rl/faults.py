"""Faults of reward servers, made of what an honest one answers."""

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from omnigen2.rl.rewards.remote import Limits, RemoteReward
from omnigen2.rl.rewards.remote.server import RewardService
from tests.rl.brightness import Brightness
from tests.rl.loopback import Answer, Asked, Loopback

QUICK = Limits(concurrency=4, timeout_s=0.4, deadline_s=20, attempts=4, backoff_s=0.001)
PASSING = ("drop", "truncate", "500", "503", "429", "slow", "drip")
"""Faults after which it is asked again."""
ODD_SCORES: dict[str, dict[str, Any]] = {
    "nan": {"value": float("nan")},
    "nan part": {"parts": {"red": float("nan")}},
    "inf part": {"parts": {"red": float("inf")}},
    "no parts": {"parts": {}},
    "stale": {"id": "0123-0"},
    "outside": {"value": 12.5},
    "text": {"value": "0.9"},
    "true": {"value": True},
    "words": {"value": None, "problem": "no answer: from nobody"},
    "no cause": {"value": None, "problem": {"cause": "", "detail": "", "transient": True}},
}
LASTING = ("garbage", "list", "short", "long", "swapped", "400", *ODD_SCORES)
"""Replies that are no scores of these pictures."""
HARMLESS = ("shuffled", "good")


def truth(asked: Asked) -> dict[str, Any]:
    """What an honest server answers."""
    return RewardService(Brightness()).answer(json.dumps(asked.body).encode())


def faulty(kind: str, asked: Asked) -> Answer:
    """One fault, made of the honest answer."""
    honest = truth(asked)
    scores = honest["scores"]
    match kind:
        case "drop" | "truncate" | "drip":
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
        case "swapped":
            digests = [score["digest"] for score in scores]
            turned = [score | {"digest": digests[i - 1] + "x"} for i, score in enumerate(scores)]
            return Answer(body={"scores": turned})
        case "shuffled":
            random.Random(0).shuffle(scores)
            return Answer(body=honest)
        case "good":
            return Answer(body=honest)
        case _:
            return Answer(body={"scores": [score | ODD_SCORES[kind] for score in scores]})


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
