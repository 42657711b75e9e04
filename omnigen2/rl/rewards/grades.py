"""What judges are told, and what they answer: grades by a rubric, in typed JSON.

What cannot be read or is outside of the scale is a failure with its cause. No grade is guessed, and none is repaired.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import resources
from typing import Any, NoReturn

from omnigen2.rl.reward import Failure
from omnigen2.rl.rewards.remote import Schema, unique_fields, writable

WORDS = "(?:seed:)?(?:think|thinking|thought|reasoning)"
TAG = re.compile(rf"</?{WORDS}>|◁/?think▷|\[/?THINK\]", re.IGNORECASE)
"""Around what models think: Qwen's and most others', Kimi's, Mistral's."""
THOUGHTS = re.compile(rf"\A.*?(?:</{WORDS}>|◁/think▷|\[/THINK\])", re.DOTALL | re.IGNORECASE)
FRAME = re.compile(r"</?answer>|<\|(?:begin|end)_of_box\|>", re.IGNORECASE)
"""Around the answers of models that think."""


@dataclass(frozen=True, slots=True)
class Rubric:
    """What a judge is told, and the grades it is to give.

    Attributes:
        name: Short.
        text: The instructions.
        grades: How many, each from `low` to `high`.
    """

    name: str
    text: str
    grades: int
    low: float
    high: float

    @classmethod
    def load(cls, name: str, grades: int, high: float) -> "Rubric":
        """Read a rubric that ships with the package, `prompts/NAME.txt`; its least grade is 0."""
        text = resources.files("omnigen2.rl.rewards").joinpath("prompts", f"{name}.txt").read_text(encoding="utf-8")
        return cls(name, text, grades, 0.0, high)

    @property
    def version(self) -> str:
        """The name and a hash of the text: it changes when the text does."""
        return f"{self.name}-{sha256(self.text.encode()).hexdigest()[:12]}"

    @property
    def schema(self) -> Schema:
        """The JSON schema of an answer."""
        grade = {"type": "number", "minimum": self.low, "maximum": self.high}
        score = {"type": "array", "items": grade, "minItems": self.grades, "maxItems": self.grades}
        return {
            "type": "object",
            "properties": {"reasoning": {"type": "string"}, "score": score},
            "required": ["reasoning", "score"],
            "additionalProperties": False,
        }


@dataclass(frozen=True, slots=True)
class Grades:
    """One answer of a judge.

    Attributes:
        score: The grades, on the rubric's scale.
        reasoning: The judge's words; empty if it gave none.
    """

    score: tuple[float, ...]
    reasoning: str


def without_thoughts(text: str) -> str | None:
    """An answer without its frame, and without what a model thought before it, `<think>…</think>`.

    The first tag may be missing.

    Returns:
        None if thoughts do not end, or come again: what looks like an answer may be one of them.
    """
    thoughts = THOUGHTS.match(text)
    if thoughts and len(TAG.findall(thoughts[0])) > 2:  # one inside of another, which has no end
        return None
    said = text[thoughts.end() :] if thoughts else text
    return None if TAG.search(said) else FRAME.sub("", said)


def read_grades(text: str, rubric: Rubric) -> Grades | Failure:
    """Read a judge's answer; failures are "unreadable" and "out of range".

    Thoughts before the answer are left out. Words and code fences around one JSON object are passed over; an answer
    that is nothing but a JSON number or list counts as the grades. Nothing is repaired: quotes that are missing, grades
    in quotes, two objects or a field that is given twice make an answer unreadable.
    """
    said = without_thoughts(text)
    if said is None:
        return Failure("unreadable", f"thoughts without an end: {text[:200]!r}")
    first, last = said.find("{"), said.rfind("}")
    fenced = said.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    whole = fenced if first < 0 else said[first : last + 1]
    try:
        found = json.loads(whole, strict=False, parse_constant=_refuse, object_pairs_hook=unique_fields)
    except (ValueError, RecursionError):
        return Failure("unreadable", repr(text[:200]))
    fields: Mapping[str, Any] = found if isinstance(found, dict) else {"score": found}
    score, reasoning = fields.get("score"), fields.get("reasoning", "")
    given = score if isinstance(score, list) else [score]
    grades = [grade for grade in given if isinstance(grade, int | float) and not isinstance(grade, bool)]
    if len(grades) != len(given) or len(grades) != rubric.grades:
        return Failure("unreadable", f"expected {rubric.grades} numbers as score, got {score!r:.200}")
    if not all(rubric.low <= grade <= rubric.high for grade in grades):
        return Failure("out of range", f"grades go from {rubric.low:g} to {rubric.high:g}, got {grades!r:.200}")
    return Grades(tuple(float(grade) for grade in grades), writable(reasoning) if isinstance(reasoning, str) else "")


def root_mean(first: float, second: float) -> float:
    """The geometric mean of two grades of at least 0."""
    return math.sqrt(first * second)


def reasons(grades: Sequence[Grades]) -> str:
    """What the judge said with some grades."""
    return " | ".join(one.reasoning for one in grades if one.reasoning)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)
