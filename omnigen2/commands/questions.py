"""`omnigen2 evaluate` for multiple-choice questions: read or make answers, mark them, write a report."""

import argparse
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omnigen2.commands.model import device_of, dtype_of, progress_bar
from omnigen2.commands.parser import Parser

if TYPE_CHECKING:
    from omnigen2.encoders import QwenEncoder
    from omnigen2.evaluation import ChoiceBenchmark
    from omnigen2.evaluation.judging import Choice, JudgeProtocol, Record

SYSTEM = "You are a helpful assistant."
REQUEST = "Answer with the letter of the right option."


def add_question_options(parser: Parser) -> None:
    """Add the options that only questions have.

    Args:
        parser: The command's.
    """
    parser.option("--answers", type=Path, metavar="FILE", help="`mmbench`, `mmmu`: lines with key and answer")
    parser.option("--max_new_tokens", type=int, default=16, help="longest answer that --model makes (default 16)")


def evaluate_questions(options: argparse.Namespace, benchmark: "ChoiceBenchmark", command: str) -> None:
    """Mark answers, and write `report.md`, `result.json` and a plot; with `--model`, `answers.jsonl` before.

    Args:
        options: Parsed.
        benchmark: Which questions.
        command: That makes the report again.

    Raises:
        EvaluationError: If options do not go together, or a file cannot be read.
    """
    from omnigen2.evaluation import write_report
    from omnigen2.evaluation.judging import Result, read_answers, read_mmbench, read_mmmu
    from omnigen2.evaluation.metrics import EvaluationError

    if options.data is None or (options.answers is None) == (options.model is None):
        raise EvaluationError(
            f"{benchmark.name} needs --data, and either --answers or --model", "a file of answers, or a model folder"
        )
    choices = read_mmbench(options.data) if benchmark.name == "mmbench" else read_mmmu(options.data)
    source = Path(options.answers or options.model)
    name = options.name or source.resolve().stem
    out: Path = options.out or Path("runs") / "evaluate" / benchmark.name / name
    out.mkdir(parents=True, exist_ok=True)
    if options.model is None:
        answers: dict[str, str] = read_answers(options.answers)
    else:
        answers = _make_answers(options, choices, out / "answers.jsonl")
    said = [answers.get(choice.key) for choice in choices]
    result = Result(benchmark.name, name, _protocol(options), tuple(_records(choices, said)))
    write_report(out, benchmark, result, [], command)
    for summary in benchmark.summaries(result.records):
        print(f"{summary.title}\n\n{summary.table()}\n")
    print(f"wrote {out / 'report.md'}")


def prompt(choice: "Choice") -> str:
    """What a model is asked.

    Args:
        choice: The question.

    Returns:
        The question, the options by letter, and the request for a letter.
    """
    options = "\n".join(f"{letter}. {option}" for letter, option in choice.options.items())
    return f"{choice.question}\n{options}\n{REQUEST}"


def _make_answers(options: argparse.Namespace, choices: "Sequence[Choice]", path: Path) -> dict[str, str]:
    """Ask the model what it was not asked before; each answer is on disk before the next question."""
    from omnigen2.encoders import Message
    from omnigen2.evaluation.judging import json_object, read_image

    digests = {choice.key: _digest(choice, options) for choice in choices}
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    rows = [json_object(line, f"{path}, line {n}") for n, line in enumerate(lines, 1) if line.endswith("\n")]
    path.write_text("".join(line for line in lines if line.endswith("\n")), encoding="utf-8")
    known = {str(row.get("key")): str(row.get("answer")) for row in rows if row.get("digest") in digests.values()}
    pending = [choice for choice in choices if choice.key not in known]
    if not pending:
        return known
    encoder = _encoder(options)
    with progress_bar(len(pending), "asking") as tell, path.open("a", encoding="utf-8") as file:
        for number, choice in enumerate(pending, start=1):
            images = tuple(read_image(image, f"picture of {choice.key}") for image in choice.images)
            talk = (Message("system", SYSTEM), Message("user", prompt(choice), images))
            known[choice.key] = encoder.answer([talk], max_new_tokens=options.max_new_tokens)[0].text
            row = {"key": choice.key, "answer": known[choice.key], "digest": digests[choice.key]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            tell(number, len(pending))
    return known


def _encoder(options: argparse.Namespace) -> "QwenEncoder":
    from omnigen2.encoders import PromptRules, QwenEncoder
    from omnigen2.generate import ModelFolder

    folder = ModelFolder(Path(options.model))
    return QwenEncoder.from_folder(
        folder.part("mllm"),
        folder.part("processor"),
        dtype=dtype_of(options),
        device=device_of(options),
        rules=PromptRules(sees="text_and_images"),
    )


def _digest(choice: "Choice", options: argparse.Namespace) -> str:
    """Of all that an answer depends on, but for the model's weights: another model is another `--out`."""
    from omnigen2.evaluation.judging import contents

    pictures = [hashlib.sha256(contents(image)).hexdigest() for image in choice.images]
    facts = [choice.key, SYSTEM, prompt(choice), pictures, str(Path(options.model).resolve()), options.max_new_tokens]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def _protocol(options: argparse.Namespace) -> "JudgeProtocol":
    from omnigen2.evaluation.judging import JudgeProtocol

    asked = hashlib.sha256(f"{SYSTEM}\n{REQUEST}".encode()).hexdigest()[:12]
    made = {"max_new_tokens": options.max_new_tokens} if options.model is not None else {}
    version = f"letters-{asked}" if options.model is not None else "as the file's"
    return JudgeProtocol("letters", "no model", version, settings={"rotations": "all must be right", **made})


def _records(choices: "Sequence[Choice]", said: Sequence[str | None]) -> "list[Record]":
    from omnigen2.evaluation.judging import Judgement, Record, mark

    words = {choice.key: one for choice, one in zip(choices, said, strict=True) if one is not None}
    return [
        Record(
            one.key,
            one.category,
            "en",
            "",
            Judgement(
                {"accuracy": float(one.right), "readable": float(one.readable)}, {"answer": words.get(one.key, "")}
            )
            if one.asked
            else Judgement(problem="no answer"),
        )
        for one in mark(choices, said)
    ]
