"""What a model has said to questions, on disk."""

from collections.abc import Collection, Iterator
from pathlib import Path

from omnigen2.evaluation.judging.tables import Row
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.files import BadLine, Fields, Keys, each_json_item, read_json_lines, read_object
from omnigen2.rl.rewards.remote import writable

TABLES = (".xlsx", ".tsv", ".csv")


def read_answers(path: Path, asked: Collection[str] | None = None) -> dict[str, str]:
    """What a model said to questions.

    Args:
        path: A `.jsonl` file with `key` and `answer` in each line; or a `.json` file with answers by key, or with a
            list of objects that have `id` and `response`, both as MMMU's official programs take them.
        asked: Keys of the questions; answers to others, such as MMMU's open ones, are passed over. None for all.

    Returns:
        Answers by key. One that comes again as it was is passed over.

    Raises:
        EvaluationError: If it is something else, a key has two answers that differ, or no question that was asked has
            one.

    Source: eval/main_eval_only.py and main_parse_and_eval.py in MMMU-Benchmark/MMMU.
    """
    if path.suffix in TABLES:
        raise EvaluationError(f"{path} is a table", 'write lines such as {"key": "241", "answer": "B"} into a .jsonl')
    if not path.is_file():
        raise EvaluationError(f"there is no file {path}", "--answers names a file with answers")
    answers: Keys[str] = Keys("key", EvaluationError, "keep the right one of the two answers")
    for key, fields, name in _said(path):
        if asked is None or key in asked:
            if not isinstance(fields.values.get(name), str):
                raise fields.refusal(name, "an answer in words")
            answers.add(key, writable(fields.values[name]), fields.where, repeats=True)
    if not answers.values:
        wanted = f" to any of the {len(asked)} questions; the first would be {next(iter(asked))}" if asked else ""
        raise EvaluationError(f"{path} has no answer{wanted}", "are --data and --answers of one split?")
    return answers.values


def _said(path: Path) -> Iterator[tuple[str, Fields, str]]:
    """Keys, and where the answer to each stands.

    Raises:
        EvaluationError: If something else stands in the file.
    """
    if path.suffix != ".json":
        for line in read_json_lines(path, EvaluationError):
            key = Row(line.value, line.where, path.parent).text("key")
            yield key, Fields(line.value, line.where, EvaluationError, "expected key and answer"), "answer"
    elif path.read_bytes().lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        for line in each_json_item(path, EvaluationError):
            if isinstance(line, BadLine):
                raise EvaluationError(f"{path}, line {line.number} {line.problem}", line.remedy)
            fields = Fields(line.value, line.where, EvaluationError, "expected id and response, as MMMU's output.json")
            yield fields.text("id"), fields, "response"
    else:
        fields = read_object(path, EvaluationError, "expected answers in words by key")
        yield from ((key, fields, key) for key in fields.values)
