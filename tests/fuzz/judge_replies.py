"""Broken replies of judges: what is read as grades is what an honest answer in them says, everything else is a failure.

A case makes a reply whose honest grades are known, breaks it, and reads it as the rewards and the evaluation do: the
text (`read_grades`), the reply around it (`ChatClient`), or a letter. Grades that no honest answer has are a find.
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from typing import Any

from omnigen2.evaluation.judging.understanding import read_letter
from omnigen2.rl import Failure
from omnigen2.rl.rewards.grades import Grades, Rubric, read_grades
from omnigen2.rl.rewards.remote.chat import reply_text
from omnigen2.rl.rewards.remote.replies import Retry, read_reply
from tests.fuzz.attempt import Case

PAIR = Rubric("pair", "Grade.", 2, 0, 25)
DRAFT = '{"reasoning": "a draft", "score": [1, 1]}'
OPTIONS = {"A": "a cat", "B": "a dog", "C": "a cow"}
NOISE = (
    "<think>",
    "</think>",
    "{",
    "}",
    "[",
    "]",
    '"',
    "\\",
    "\0",
    "\ud83d",
    "\u2028",
    "NaN",
    "1e999",
    "```",
    ",",
    "-",
    "9",
)
ODD: tuple[Any, ...] = (
    None, True, "8", [], {}, [[1, 2]], -1, 26, 10**400, float("nan"), float("inf"), ["1", 2], [1], [1, 2, 3], [True, 2],
)  # fmt: skip


def cases(seed: int) -> Iterator[Case]:
    """Without an end; the same seed gives the same.

    Yields:
        A name and what to call: it ends normally, or an `AssertionError` is a find.
    """
    rng = random.Random(seed)
    kinds = (_noisy, _thinking, _odd, _cut, _parted, _shapeless, _lettered)
    for number in count():
        kind = kinds[number % len(kinds)]
        yield kind.__name__[1:], kind(rng)


def _honest(rng: random.Random) -> tuple[tuple[float, float], str]:
    score = (float(rng.randrange(2, 26)), float(rng.randrange(2, 26)))
    words = "".join(rng.choice("ab {}[]\"'\n\u2028猫") for _ in range(rng.randrange(12)))
    return score, json.dumps({"reasoning": words, "score": score}, ensure_ascii=rng.random() < 0.5)


def _check(text: str, allowed: Sequence[tuple[float, ...]]) -> None:
    found = read_grades(text, PAIR)
    if isinstance(found, Grades):
        assert found.score in allowed, f"{text!r:.300} gave {found.score}, allowed are {allowed}"
        found.reasoning.encode()
    else:
        assert found.cause in ("unreadable", "out of range")
        str(found).encode()


def _noisy(rng: random.Random) -> Callable[[], None]:
    """Noise put into the text, or before and behind it: the honest grades, or none, unless a digit was hit."""
    score, text = _honest(rng)
    noise = [rng.choice(NOISE[:-3]) for _ in range(rng.randrange(1, 4))]
    front = "".join(noise)
    return partial(_check, rng.choice((f"{front}{text}", f"{text}{front}", f"{front}\n{text}\n{front}")), [score])


def _thinking(rng: random.Random) -> Callable[[], None]:
    score, text = _honest(rng)
    tag = rng.choice(("think", "thinking", "THINK", "thought"))
    thought = rng.choice((DRAFT, f"no {DRAFT} yes", "a {b} c", "[1, 1]", "", f"<{tag}>{DRAFT}"))
    shapes = (
        (f"<{tag}>{thought}</{tag}>{text}", [score]),
        (f"{thought}</{tag}>\n{text}", [score]),
        (f"<{tag}>{thought}", []),
        (f"<{tag}>{thought}</{tag}>{thought}</{tag}> I do not know", []),
        (f"<{tag}>{thought}</{tag}>", []),
        (f"{text}<{tag}>{thought}</{tag}>", []),
    )
    return partial(_check, *rng.choice(shapes))


def _odd(rng: random.Random) -> Callable[[], None]:
    found = json.dumps({"reasoning": rng.choice((*ODD, "r")), "score": rng.choice(ODD)})
    deep = rng.randrange(1, 100_000)
    text = rng.choice((found, json.dumps({"score": {"score": [2, 2]}}), "[" * deep, '{"a":' * deep, "1" * 5000))
    return partial(_check, text, [])


def _cut(rng: random.Random) -> Callable[[], None]:
    score, text = _honest(rng)
    cut = text[: rng.randrange(1, len(text))]
    shapes = ((cut, []), (cut + text, []), (text + text, []), (text[:-1] + f', "score": {json.dumps(score)}}}', []))
    return partial(_check, *rng.choice(shapes))


def _parted(rng: random.Random) -> Callable[[], None]:
    """A message in parts, some of them of other kinds."""
    score, text = _honest(rng)
    at = rng.randrange(len(text))
    parts: list[Any] = [
        {"type": "text", "text": text[:at]},
        {"type": rng.choice(("text", "output_text")), "text": text[at:]},
    ]
    odd = rng.choice(({"type": "thinking", "thinking": DRAFT}, {"type": "reasoning", "text": DRAFT}, None))
    wrong = rng.choice(
        (3, None, {"type": "image_url"}, {"type": "text", "text": 3}, {"type": "refusal", "refusal": "no"}, [])
    )
    allowed = [score]
    if odd is not None:
        parts.insert(rng.randrange(3), odd)
    if rng.random() < 0.4:
        parts.insert(rng.randrange(len(parts) + 1), wrong)
        allowed = []
    return partial(_check_reply, {"choices": [{"message": {"content": parts}}]}, allowed)


def _check_reply(reply: Any, allowed: Sequence[tuple[float, ...]]) -> None:
    try:
        read = read_reply(200, 0.0, json.dumps(reply).encode(), None)
    except Retry:
        return
    text = read if isinstance(read, Failure) else reply_text(read)
    if isinstance(text, Failure):
        assert ":" not in text.cause
    else:
        _check(text, allowed)


def _shapeless(rng: random.Random) -> Callable[[], None]:
    """A reply of any shape, with a draft where the answer would be if one did not look at the rest."""
    odd: list[Any] = [None, True, 3, "x", [], {}, [None], DRAFT, float("nan")]
    reason = rng.choice(("length", "max_tokens", "content_filter", "error"))
    message = {
        "role": "assistant",
        "content": rng.choice(odd[:6]),
        rng.choice(("reasoning", "reasoning_content")): DRAFT,
    }
    replies: tuple[Any, ...] = (
        {"choices": [{"finish_reason": reason, "message": {"content": DRAFT}}]},
        {"choices": [{"message": message}]},
        {"choices": [{"message": {"content": DRAFT, "refusal": "I will not."}}]},
        {"choices": rng.choice(odd)},
        {"choices": [rng.choice(odd)]},
        {"choices": [{"message": rng.choice(odd)}]},
        {"error": {"message": DRAFT}},
        rng.choice(odd),
    )
    return partial(_check_reply, rng.choice(replies), [])


def _lettered(rng: random.Random) -> Callable[[], None]:
    right = rng.choice("ABC")
    forms = ("{}", "({})", "Answer: {}", "Option {}.", "**{}**", "the answer is {}", "<think>A or B</think>{}")
    other = rng.choice([letter for letter in "ABC" if letter != right])
    said = rng.choice(forms).format(right)
    noise = "".join(rng.choice(NOISE) for _ in range(rng.randrange(3)))
    texts = ((said, right), (f"{said} {noise}", right), (f"<think>{said}", None), (f"{right} or {other}", None))
    text, allowed = rng.choice(texts)
    return partial(_check_letter, text, allowed)


def _check_letter(text: str, right: str | None) -> None:
    found = read_letter(text, OPTIONS)
    assert found in (right, None), f"{text!r} gave {found}, the answer is {right}"
