"""What servers answer, read without trust: when to come back, and one JSON object without a name that stands twice."""

import datetime
import email.utils
import json
import re
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx

from omnigen2.rl.reward import Failure

LONGEST_WAIT_S = 120.0
"""A server that asks for more time than this is asked again after this."""
UNREADABLE = "unreadable reply"
"""Cause of replies that are no JSON object, or not of the shape that was asked for."""

Reply: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Retry(Exception):
    """An attempt that may be repeated."""

    problem: str
    after_s: float = 0.0


def read_reply(status: int, after_s: float, content: bytes, key: str | None) -> Reply | Failure:
    """A reply's JSON object, or a failure in which the key is not told.

    Raises:
        Retry: If the server may have an answer later.
    """
    if status != 200:
        text = content.decode("utf-8", "replace")
        said = " ".join((text.replace(key, "***") if key else text).split())[:200]
        if status == 429 or status >= 500:
            raise Retry(f"status {status}" + (f" ({said[:120]})" if said else ""), after_s)
        return Failure(f"status {status}", said)
    if content.lstrip().startswith(b"data:"):
        return Failure(UNREADABLE, "it is a stream of events, and not one answer")
    try:
        reply = json.loads(content, object_pairs_hook=unique_fields)
    except (ValueError, RecursionError):
        return Failure(UNREADABLE, "it is no JSON, or has a name twice")
    return reply if isinstance(reply, dict) else Failure(UNREADABLE, "it is no JSON object")


def unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of an object: json's `object_pairs_hook`.

    Raises:
        ValueError: If a name is given twice.
    """
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a field is given twice")
    return fields


def writable(text: str) -> str:
    """A text that can be written: halves of characters, which JSON can spell, become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def retry_after(answer: httpx.Response) -> float:
    """Seconds that a server names as a number or an HTTP date, at most `LONGEST_WAIT_S`; 0 for anything else."""
    text = answer.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return min(float(text), LONGEST_WAIT_S)
    try:
        date = email.utils.parsedate_to_datetime(text)
        aware = date if date.tzinfo else date.replace(tzinfo=datetime.UTC)
        seconds = (aware - datetime.datetime.now(datetime.UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(0.0, seconds), LONGEST_WAIT_S)
