"""Multiple-choice questions: asked of anyone who answers, each once, and marked."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from PIL import Image

from omnigen2.errors import UserError
from omnigen2.evaluation.judging import Choice, JudgeProtocol, Mark, Record, contents, mark, read_image
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.files import Fields, Keys, drop_half_line, read_json_lines
from omnigen2.rl.rewards.remote import writable

SYSTEM = "You are a helpful assistant."
REQUEST = "Answer with the letter of the right option."
ASKED = hashlib.sha256(f"{SYSTEM}\n{REQUEST}".encode()).hexdigest()[:12]
"""Tells ways of asking apart."""

Answerer: TypeAlias = Callable[[str, str, tuple[Image.Image, ...]], str]
"""From a system prompt, a question in words and its pictures to an answer in words."""


def ask(
    choices: Sequence[Choice],
    answerer: Callable[[], Answerer],
    facts: Sequence[object],
    path: Path,
    show: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, str]:
    """Ask what was not asked before; each answer is on disk before the next question.

    Args:
        answerer: Makes the one who answers; called if there is something to ask.
        facts: What answers depend on besides the question, as JSON: who answers, and how long.
        path: A file of JSON lines that grows; it need not exist, and a last line that was cut off is dropped.
        show: Told of each answer, also of those of earlier calls, that so many of how many are there.

    Raises:
        EvaluationError: If the file has something else, or two answers to one question.
        UserError: If a picture of a question that is still to be asked cannot be read; none is asked then.
    """
    digests = {choice.key: _digest(choice, facts) for choice in choices}
    drop_half_line(path)
    said: Keys[str] = Keys("answer to", EvaluationError, "remove one of the two lines")
    for line in read_json_lines(path, EvaluationError) if path.exists() else []:
        row = Fields(line.value, line.where, EvaluationError, "remove the line")
        key, text = row.text("key"), row.text("answer")
        if digests.get(key) == row.text("digest"):
            said.add(key, text, line.where, repeats=True)
    known = said.values
    for number in range(1, len(known) + 1):
        show(number, len(choices))
    pending = [choice for choice in choices if choice.key not in known]
    if not pending:
        return known
    for choice in pending:
        _ = _pictures(choice)
    answer = answerer()
    with path.open("a", encoding="utf-8") as file:
        for choice in pending:
            known[choice.key] = writable(answer(SYSTEM, _prompt(choice), _pictures(choice)))
            row = {"key": choice.key, "answer": known[choice.key], "digest": digests[choice.key]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            show(len(known), len(choices))
    return known


def letter_protocol(max_new_tokens: int | None) -> JudgeProtocol:
    """How answers are judged: by their letters. `max_new_tokens` is that of `ask`; None if somebody else asked."""
    if max_new_tokens is None:
        return JudgeProtocol("letters", "no model", "as the file's", settings={"rotations": "all must be right"})
    settings = {"rotations": "all must be right", "max_new_tokens": max_new_tokens}
    return JudgeProtocol("letters", "no model", f"letters-{ASKED}", settings=settings)


def marked(choices: Sequence[Choice], answers: Mapping[str, str]) -> list[Record]:
    """Records of answers by key; questions without one failed."""
    return [
        _record(one, answers.get(one.key, "")) for one in mark(choices, [answers.get(choice.key) for choice in choices])
    ]


def _record(one: Mark, answer: str) -> Record:
    name = (one.category, "en", one.key, "")
    if not one.asked:
        return Record(*name, problem="no answer")
    return Record(*name, {"accuracy": float(one.right), "readable": float(one.readable)}, {"answer": answer})


def _pictures(choice: Choice) -> tuple[Image.Image, ...]:
    try:
        return tuple(read_image(image, f"number {number}") for number, image in enumerate(choice.images, start=1))
    except UserError as error:
        raise error.at(choice.where or f"question {choice.key}") from error


def _prompt(choice: Choice) -> str:
    """The question, the options by letter, and the request for a letter."""
    options = "\n".join(f"{letter}. {option}" for letter, option in choice.options.items())
    return f"{choice.question}\n{options}\n{REQUEST}"


def _digest(choice: Choice, facts: Sequence[object]) -> str:
    pictures = [hashlib.sha256(contents(image)).hexdigest() for image in choice.images]
    everything = [choice.key, SYSTEM, _prompt(choice), pictures, *facts]
    return hashlib.sha256(json.dumps(everything).encode()).hexdigest()[:24]
