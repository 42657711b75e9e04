"""Questions and answers on disk: MMBench's table, MMMU's rows, and what a model has said."""

import ast
import base64
import csv
import sys
from collections.abc import Mapping
from pathlib import Path

from omnigen2.evaluation.judging.tables import Row, json_object, rows
from omnigen2.evaluation.judging.understanding import LETTERS, Choice
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.files import read_json_lines

ROTATION = 1_000_000
"""What MMBench adds to a question's index for each rotation of its options."""


def read_mmbench(path: Path) -> list[Choice]:
    """MMBench's published table.

    Args:
        path: A `.tsv` file with `index`, `question`, `A` to `D`, `answer`, `category` and perhaps `hint` and `image`
            (in base64, or the index of the row that has it).

    Returns:
        The questions that have an answer. Rows whose index is a million or more ask a question again with rotated
        options; the rest of the division is the question's own index.

    Raises:
        EvaluationError: If a column is missing, a picture or an index cannot be read, or nothing has an answer.

    Source: vlmeval/dataset/image_mcq.py (columns) and utils/multiple_choice.py (rotations) in open-compass/VLMEvalKit.
    """
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file, delimiter="\t")
        missing = {"index", "question", "A", "B", "answer", "category"} - set(table.fieldnames or ())
        if missing:
            raise EvaluationError(f"{path} has no column {sorted(missing)[0]}", "expected MMBench's published .tsv")
        lines = [row for row in table if row["answer"]]
    pictures = {row["index"]: row.get("image") or "" for row in lines}
    return _checked([_mmbench_row(row, pictures, path) for row in lines], path)


def _mmbench_row(row: Mapping[str, str], pictures: Mapping[str, str], path: Path) -> Choice:
    key = row["index"]
    if not key.isdigit():
        raise EvaluationError(f"{path}: the index {key!r} is no whole number", "expected MMBench's published .tsv")
    image = pictures[key]
    image = pictures.get(image, image)
    try:
        images = (base64.b64decode(image, validate=True),) if image else ()
    except ValueError as error:
        raise EvaluationError(f"{path}: the picture of question {key} is no base64", "is the file whole?") from error
    return Choice(
        key,
        row["category"],
        "\n".join(filter(None, (row.get("hint"), row["question"]))),
        {letter: row[letter] for letter in LETTERS if row.get(letter)},
        row["answer"],
        images,
        str(int(key) % ROTATION) if int(key) >= ROTATION else "",
    )


def read_mmmu(data: Path) -> list[Choice]:
    """MMMU's multiple-choice questions.

    Args:
        data: Folder with the published `.parquet` files, or the same rows in one `.jsonl` file: `id`, `question`,
            `options` (a list, or its text), `answer`, `question_type` and `image_1` to `image_7`. The split's name goes
            behind the folder: `MMMU/validation`.

    Returns:
        The questions of type `multiple-choice`; the category is the subject, as it stands in the id. The open questions
        are left out, so the accuracy is not the official one over all questions.

    Raises:
        EvaluationError: If a field is missing or there are none.

    Source: the dataset card of MMMU/MMMU for the columns; eval/main_eval_only.py in MMMU-Benchmark/MMMU, which takes
        the subject out of the id.
    """
    found: list[Choice] = []
    for row in rows(data):
        if row.values.get("question_type", "multiple-choice") != "multiple-choice":
            continue
        key, question, answer = row.texts("id", "question", "answer")
        options = row.values.get("options")
        try:
            listed = ast.literal_eval(options) if isinstance(options, str) else options
        except (ValueError, SyntaxError):
            listed = None
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise EvaluationError(f"{row.where}: options is {options!r:.80}", "expected a list of texts")
        subject = "_".join(key.split("_")[1:-1])
        if not subject:
            raise EvaluationError(f"{row.where}: the id {key!r} has no subject", "expected such as validation_Art_1")
        files = (row.values.get(f"image_{number}") for number in range(1, 8))
        images = tuple(row.picture(file) for file in files if file is not None)
        found.append(Choice(key, subject, question, dict(zip(LETTERS, listed, strict=False)), answer, images))
    return _checked(found, data)


def _checked(found: list[Choice], path: Path) -> list[Choice]:
    for choice in found:
        if choice.answer not in choice.options:
            raise EvaluationError(
                f"{path}: the answer of question {choice.key} is {choice.answer!r}",
                f"it has {', '.join(choice.options)}",
            )
    if not found:
        raise EvaluationError(f"{path} has no question with an answer", "test splits are published without answers")
    return found


def read_answers(path: Path) -> dict[str, str]:
    """What a model said to questions.

    Args:
        path: A `.jsonl` file with `key` and `answer` in each line, or a `.json` file with answers by key, as MMMU's
            official program takes it.

    Returns:
        Answers by key. Of a key that comes twice, the last.

    Raises:
        EvaluationError: If it is something else.
    """
    if not path.is_file():
        raise EvaluationError(f"there is no file {path}", "--answers names a file with answers")
    if path.suffix == ".json":
        found = json_object(path.read_text(encoding="utf-8"), str(path))
        wrong = [key for key, answer in found.items() if not isinstance(answer, str)]
        if wrong:
            raise EvaluationError(f"{path}: the answer {wrong[0]} is {found[wrong[0]]!r:.80}", "expected texts by key")
        return dict(found)
    answers: dict[str, str] = {}
    for line in read_json_lines(path, EvaluationError):
        answer = line.value.get("answer")
        if not isinstance(answer, str):
            raise EvaluationError(f"{line.where}: answer is {answer!r:.80}", "expected a text")
        answers[Row(line.value, line.where, path.parent).text("key")] = answer
    return answers
