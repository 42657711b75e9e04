"""Questions on disk: MMBench's table and MMMU's rows."""

import ast
import base64
import csv
import sys
from collections.abc import Mapping
from pathlib import Path

from omnigen2.evaluation.judging.tables import rows
from omnigen2.evaluation.judging.understanding import LETTERS, Choice
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.files import Fields, Keys

ROTATION = 1_000_000
"""What MMBench adds to a question's index for each rotation of its options."""
UNANSWERED = "test splits are published without answers"


def read_mmbench(path: Path) -> list[Choice]:
    """MMBench's published table.

    Args:
        path: A `.tsv` file with `index`, `question`, `A` to `D`, `answer`, `category` and perhaps `hint` and `image`
            (in base64, or the index of the row that has it).

    Returns:
        The questions that have an answer. Rows whose index is a million or more ask a question again with rotated
        options; the rest of the division is the question's own index.

    Raises:
        EvaluationError: If a column is missing, a picture or an index cannot be read, an index comes twice, or nothing
            has an answer.

    Source: vlmeval/dataset/image_mcq.py (columns) and utils/multiple_choice.py (rotations) in open-compass/VLMEvalKit.
    """
    questions = [_mmbench_index(fields) for fields in _table(path)]
    by_key: Keys[Fields] = Keys("index", EvaluationError, "keep one of the two rows")
    for key, fields in questions:
        by_key.add(key, fields, fields.where)
    pictures = {key: fields.values.get("image") or "" for key, fields in questions}
    asked = [(key, fields) for key, fields in questions if fields.values["answer"]]
    return _some([_mmbench_row(key, fields, pictures) for key, fields in asked], path)


def _table(path: Path) -> list[Fields]:
    """The rows of a `.tsv` file, each with as many cells as the head.

    Raises:
        EvaluationError: If it is none, or a row has more or fewer.
    """
    remedy = "expected MMBench's published .tsv; is the file whole?"
    csv.field_size_limit(sys.maxsize)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file, delimiter="\t")
            names = list(table.fieldnames or ())
            missing = sorted({"index", "question", "A", "B", "answer", "category"} - set(names))
            if missing or len(set(names)) < len(names):
                problem = f"has no column {missing[0]}" if missing else "has a column twice"
                raise EvaluationError(f"{path} {problem}", UNANSWERED if missing == ["answer"] else remedy)
            found = [Fields(row, f"{path}, line {table.line_num}", EvaluationError, remedy) for row in table]
    except (UnicodeDecodeError, csv.Error) as error:
        raise EvaluationError(f"{path} cannot be read ({error})", remedy) from error
    except OSError as error:
        raise EvaluationError(f"{path} cannot be read ({error.strerror})", "--data names MMBench's .tsv") from error
    for fields in found:
        if None in fields.values or None in fields.values.values():
            raise EvaluationError(f"{fields.where} has more or fewer cells than the first line", remedy)
    return found


def _mmbench_index(fields: Fields) -> tuple[str, Fields]:
    """The index as a number is written, and the row.

    Raises:
        EvaluationError: If it is no number.
    """
    given = fields.text("index")
    if not (given.isascii() and given.isdigit() and len(given) < 19):
        raise EvaluationError(f"{fields.where}: the index {given!r:.40} is no whole number", fields.remedy)
    return str(int(given)), fields


def _mmbench_row(key: str, fields: Fields, pictures: Mapping[str, str]) -> Choice:
    row = fields.values
    image = pictures[key]
    image = pictures.get(image, image)
    try:
        if image.isdigit():
            raise ValueError("it is the index of no row that has a picture")
        images = (base64.b64decode(image, validate=True),) if image else ()
    except ValueError as error:
        raise EvaluationError(
            f"{fields.where}: the picture of question {key} is no base64 ({error})", "is the file whole?"
        ) from error
    if not row["category"] or not row["question"]:
        raise EvaluationError(f"{fields.where} has no category or no question", fields.remedy)
    choice = Choice(
        key,
        row["category"],
        "\n".join(filter(None, (row.get("hint"), row["question"]))),
        {letter: row[letter] for letter in LETTERS if row.get(letter)},
        row["answer"],
        images,
        str(int(key) % ROTATION) if int(key) >= ROTATION else "",
        fields.where,
    )
    return _answerable(choice)


def read_mmmu(data: Path) -> list[Choice]:
    """MMMU's multiple-choice questions.

    Args:
        data: Folder with the published `.parquet` files, or the same rows in one `.jsonl` file: `id`, `question`,
            `options` (a list, or its text), `answer`, `question_type` and `image_1` to `image_7`. The split's name goes
            behind the folder: `MMMU/validation`.

    Returns:
        The questions of type `multiple-choice` that have an answer (test splits have `?`); the category is the subject,
        as it stands in the id. The open questions are left out, so the accuracy is not the official one over all
        questions.

    Raises:
        EvaluationError: If a field is missing or there are none.

    Source: the dataset card of MMMU/MMMU for the columns; eval/main_eval_only.py in MMMU-Benchmark/MMMU, which takes
        the subject out of the id.
    """
    found: list[Choice] = []
    keys: Keys[Choice] = Keys("id", EvaluationError, "keep one of the two rows, or name one split")
    for row in rows(data):
        if (row.maybe("question_type") or "multiple-choice") != "multiple-choice":
            continue
        key, question, answer = row.texts("id", "question", "answer")
        if answer == "?":
            continue
        options = row.values.get("options")
        try:
            listed = ast.literal_eval(options) if isinstance(options, str) else options
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            listed = None
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed) or len(listed) > 26:
            raise EvaluationError(f"{row.where}: options is {options!r:.80}", "expected a list of at most 26 texts")
        subject = "_".join(key.split("_")[1:-1])
        if not subject:
            raise EvaluationError(f"{row.where}: the id {key!r} has no subject", "expected such as validation_Art_1")
        files = (row.values.get(f"image_{number}") for number in range(1, 8))
        images = tuple(row.picture(file) for file in files if file is not None)
        options = dict(zip(LETTERS, listed, strict=False))
        choice = Choice(key, subject, question, options, answer, images, where=row.where)
        found.append(_answerable(choice))
        keys.add(key, choice, row.where)
    return _some(found, data)


def _answerable(choice: Choice) -> Choice:
    if choice.answer not in choice.options:
        raise EvaluationError(
            f"{choice.where}: the answer of question {choice.key} is {choice.answer!r}",
            f"expected one of its options, {', '.join(choice.options)}",
        )
    return choice


def _some(found: list[Choice], path: Path) -> list[Choice]:
    if not found:
        raise EvaluationError(f"{path} has no question with an answer", UNANSWERED)
    return found
