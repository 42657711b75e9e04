"""The world's own reader as the judge of reflections, and captions to draw for them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from zlib import crc32

import numpy as np
from typing_extensions import override

from omnigen2.curation import CurationError
from omnigen2.curation.reflection import Prompt, ReflectionJudge, Shown, Unjudged, Verdict
from omnigen2.files import write_text
from omnigen2.microworld.curated.mending import mends
from omnigen2.microworld.tasks import Caption, Specification, check, from_json, sample_caption, to_json
from omnigen2.microworld.world import EASY, TOLERANCE, ImageSize, Reading, Vocabulary, read

PRAISE = "everything is right"
HELD_OUT = 8
"""One of so many captions is held out, by its words, as `omnigen2.microworld.runs.MicroExchanges` does."""


class MicroReflector(ReflectionJudge):
    """Reads pictures and says exactly what of their captions they lack; its edit is the first of the changes.

    Args:
        tolerance: Of the reader, see `omnigen2.microworld.world.read`.
    """

    def __init__(self, tolerance: float = TOLERANCE) -> None:
        self.tolerance = tolerance
        self.by = f"rules: tolerance {tolerance:g}"

    @override
    def check(self, prompts: Sequence[Prompt]) -> None:
        for prompt in prompts:
            if prompt.height != prompt.width:
                size = f"{prompt.width} x {prompt.height} pixels"
                raise CurationError(f"{prompt.text!r} is to have {size}", "pictures of the world are square")
            _specification(prompt)

    @override
    def judge(self, shown: Sequence[Shown]) -> Sequence[Verdict | Unjudged]:
        return [judged(_specification(one.prompt), read(one.picture, tolerance=self.tolerance)) for one in shown]


def judged(specification: Specification, reading: Reading) -> Verdict | Unjudged:
    """What is to be said of a picture that was read; the score is the share of clauses that are met, in [0, 1]."""
    verdict = check(specification, reading)
    if verdict.exact:
        return Verdict(verdict.graded, praise=PRAISE)
    found = mends(specification, reading)
    if not found:
        return Unjudged("the rules have no words for it", ", ".join(verdict.unmet))
    problems = tuple(dict.fromkeys(mend.problem for mend in found))
    return Verdict(verdict.graded, problems, tuple(mend.change for mend in found), found[0].change, PRAISE)


def write_prompts(
    path: str | Path,
    count: int,
    seed: int = 0,
    part: Literal["train", "held_out"] = "train",
    size: ImageSize = 64,
    vocabulary: Vocabulary = EASY,
) -> None:
    """Write captions with their tasks, for `omnigen2 curate reflect --prompts`; no caption is in both parts."""
    rng = np.random.default_rng(seed)
    lines: list[str] = []
    while len(lines) < count:
        task = sample_caption(vocabulary, rng)
        if (crc32(task.text.encode()) % HELD_OUT == 0) == (part == "held_out"):
            lines.append(json.dumps({"prompt": task.text, "meta": to_json(task), "height": size, "width": size}))
    write_text(Path(path), "".join(f"{line}\n" for line in lines))


def _specification(prompt: Prompt) -> Specification:
    try:
        task = from_json(prompt.meta)
    except (ValueError, TypeError, RecursionError) as error:
        raise CurationError(
            f"the prompt {prompt.text!r} has no task of the micro-world, which the rules need",
            'give it in a line of the file, "meta", as `omnigen2.microworld.curated.write_prompts` does',
        ) from error
    if not isinstance(task, Caption):
        raise CurationError(
            f"the prompt {prompt.text!r} has the task of a {type(task).__name__}", "only captions can be"
        )
    return task.specification
