"""Requests and scores as JSON and back: what a reward server and its client say to one another.

Every request travels with an id and a hash of all it consists of. The server computes the hash again from what it has
decoded and sends both back with the score, so a score can only be given to the picture that it was made for.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import Any, TypeAlias

from omnigen2.pictures import ImageFileError, from_base64, from_png, to_base64, to_png
from omnigen2.rl.reward import Failure, Judgement, Outcome, Picture, Reward, RewardError, RewardRequest, Scores
from omnigen2.rl.rewards.remote.replies import writable

Item: TypeAlias = dict[str, Any]
"""One request or one score in JSON's types."""
BAD_REPLY = "bad reply"
"""Cause of pictures whose server answered something that is no score of theirs."""


class UnwritableTextError(RewardError):
    """A text of a request has half a character, which no answer could name."""


@dataclass(slots=True)
class PictureLimits:
    """What pictures may still be decoded.

    Attributes:
        pixels: Of one picture.
        left: Of all that are still to come; decoding takes away from it.
    """

    pixels: int
    left: int

    def decode(self, text: str) -> Picture:
        """A picture from its PNG file in base64.

        Raises:
            RewardError: If it and those before it have too many pixels.
            ImageFileError: If it cannot be read, or has too many pixels by itself.
        """
        png = from_base64(text)
        declared = int.from_bytes(png[16:20]) * int.from_bytes(png[20:24])
        if self.left < declared <= self.pixels:
            raise RewardError("the pictures of the call have too many pixels together; send smaller calls")
        picture = from_png(png, min(self.pixels, self.left))
        self.left -= picture.shape[1] * picture.shape[2]
        return picture


@dataclass(frozen=True, slots=True)
class Received:
    """A request as a server has it.

    Attributes:
        id: By which the client knows it.
        digest: The hash of what was received.
        request: Its pictures have 8 bits per channel.
    """

    id: str
    digest: str
    request: RewardRequest


def pack_request(request: RewardRequest, name: str) -> Item:
    """A request as JSON with `id` and `digest`.

    Args:
        request: With finite pictures; they become PNG files.
        name: Its id, unique in a call.
    """
    item: Item = {
        "prompt": request.prompt,
        "meta": request.meta,
        "key": request.key,
        "image": to_base64(to_png(request.image)),
        "references": [to_base64(to_png(reference)) for reference in request.references],
    }
    return item | {"id": name, "digest": _digest(item)}


def unpack_request(item: Any, limits: PictureLimits) -> Received:
    """A request from JSON.

    Raises:
        RewardError: If it is none, a picture cannot be read or there are too many pixels, or the hash is of something
            else.
        UnwritableTextError: If a text has half a character.
    """
    match item:
        case {
            "id": str(name),
            "digest": str(digest),
            "prompt": str(prompt),
            "meta": str(meta),
            "key": str(key),
            "image": str(image),
            "references": list(references),
        } if len(item) == 7 and all(isinstance(one, str) for one in references):
            pass
        case _:
            raise RewardError("a request needs id, digest, prompt, meta, key, image and references; send all of them")
    if any(writable(text) != text for text in (name, digest, prompt, meta, key)):
        raise UnwritableTextError("a text of a request has half a character (a lone surrogate); send whole ones")
    content = {field: item[field] for field in ("prompt", "meta", "key", "image", "references")}
    if _digest(content) != digest:
        raise RewardError(f"request {name} is not what its digest says: it was damaged on the way; send it again")
    try:
        pictures = [limits.decode(picture) for picture in (*references, image)]
    except ImageFileError as error:
        raise RewardError(f"request {name}: {error.message}", error.remedy) from None
    return Received(name, digest, RewardRequest(prompt, pictures[-1], tuple(pictures[:-1]), meta, key))


def pack_scores(scores: Scores, received: Sequence[Received]) -> list[Item]:
    """Scores of these requests as JSON: one item each, with its id and digest; null where there is no number."""
    return [
        {
            "id": one.id,
            "digest": one.digest,
            "value": float(scores.value[i]) if bool(scores.valid[i]) else None,
            "parts": {n: float(part[i]) if math.isfinite(part[i]) else None for n, part in scores.parts.items()},
            "problem": None if (problem := scores.problem[i]) is None else asdict(problem),
            "reason": scores.reason[i],
        }
        for i, one in enumerate(received)
    ]


def unpack_scores(reply: Mapping[str, Any], sent: Sequence[Item], reward: Reward) -> list[Outcome]:
    """Scores from JSON, believed only if they are of what was sent.

    Args:
        reply: What a server answered.
        sent: The requests of the call.
        reward: Whose range and parts the scores must have.

    Returns:
        One outcome for each that was sent. A reply that does not name exactly those, each once and with its digest, is
        wrong for all of them.
    """
    items = reply.get("scores")
    if not isinstance(items, list) or len(items) != len(sent):
        number = len(items) if isinstance(items, list) else "no list of"
        return [Failure(BAD_REPLY, f"{number} scores for {len(sent)} requests")] * len(sent)
    named = {(item.get("id"), item.get("digest")): item for item in items if isinstance(item, dict) and _hashable(item)}
    asked = [(one["id"], one["digest"]) for one in sent]
    if set(named) != set(asked):
        return [Failure(BAD_REPLY, "ids or digests are not those of the requests")] * len(sent)
    return [_outcome(named[name], reward) for name in asked]


def _outcome(item: Item, reward: Reward) -> Outcome:
    """One score, if it is one."""
    match item:
        case {
            "value": None,
            "problem": {"cause": str(cause), "detail": str(detail), "transient": bool(transient)},
        } if cause:
            return Failure(writable(cause), writable(detail), transient)
        case {"value": float() | int() as value, "problem": None, "parts": dict(parts), "reason": str(reason)}:
            pass
        case _:
            return Failure(BAD_REPLY, "a score needs a value, or a problem and no value, and parts and a reason")
    if set(parts) != set(reward.part_names):
        return Failure(BAD_REPLY, f"the parts are {sorted(map(str, parts))}, expected {sorted(reward.part_names)}")
    numbers = [value, *parts.values()]
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and _finite(one) for one in numbers):
        return Failure(BAD_REPLY, "a value or a part is no finite number")
    slack = 1e-5 * max(1.0, abs(reward.low), abs(reward.high))
    if not reward.low - slack <= value <= reward.high + slack:
        return Failure(BAD_REPLY, f"the value {value} is outside of [{reward.low:g}, {reward.high:g}]")
    return Judgement(float(value), {name: float(part) for name, part in parts.items()}, writable(reason))


def _finite(number: float) -> bool:
    """Whether a number is one in float32 too."""
    return abs(number) <= 3.4e38


def _hashable(item: Item) -> bool:
    return isinstance(item.get("id"), str) and isinstance(item.get("digest"), str)


def _digest(content: Mapping[str, Any]) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
