"""Accuracy on multiple-choice questions about pictures, in the layouts of MMBench and MMMU."""

import ast
import csv
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from omnigen2.evaluation.errors import EvaluationError
from omnigen2.evaluation.grouped import GroupedMean
from omnigen2.evaluation.layouts import rows, text

LETTERS = "ABCDEFGHI"


@dataclass(frozen=True, slots=True)
class Choice:
    """One question.

    Attributes:
        key: Its number.
        category: What it is averaged with.
        question: In words, with the hint if there is one.
        options: By letter.
        answer: The right letter.
    """

    key: str
    category: str
    question: str
    options: Mapping[str, str]
    answer: str


class ChoiceAccuracy(GroupedMean):
    """Share of right answers per category, and over all questions.

    An answer without a readable letter is wrong, and the share of readable ones is shown beside: unlike MMMU's
    official program, which replaces it by a random letter.

    Args:
        title: The benchmark's name.
        categories: Names of the categories.
    """

    def __init__(self, title: str, categories: Sequence[str]) -> None:
        lines = {name: [[name]] for name in categories}
        super().__init__(
            title, categories, ("accuracy", "readable"), {**lines, "overall": [list(categories)]}, highest=1
        )

    def update(self, choices: Sequence[Choice], said: Sequence[str | None]) -> None:
        """Count answers.

        Args:
            choices: The questions.
            said: What the model wrote to each; None if it was not asked, which counts as failed.

        Raises:
            ValueError: If a category is unknown, or numbers differ.
        """
        if len(choices) != len(said):
            raise ValueError(f"{self.title} got {len(choices)} questions and {len(said)} answers; give one for each")
        read = [
            None if one is None else read_letter(one, choice.options) for choice, one in zip(choices, said, strict=True)
        ]
        hits = [
            [float(one == choice.answer), float(one is not None)] for choice, one in zip(choices, read, strict=True)
        ]
        asked = torch.tensor([one is not None for one in said], dtype=torch.bool)
        scores = torch.tensor(hits, dtype=torch.float64).reshape(-1, 2)
        self.add([choice.category for choice in choices], scores, asked)


def read_letter(said: str, options: Mapping[str, str]) -> str | None:
    """The letter that an answer chooses.

    Args:
        said: The answer.
        options: By letter.

    Returns:
        The only letter that it names in one of the usual ways (`B`, `(B)`, `B.`, `B: a cat`, `the answer is B`), or
        that of the only option whose text is the answer; None if there is none or more than one.
    """
    letters = "".join(options)
    plain = said.strip().strip("*").strip()
    bracketed = set(re.findall(rf"\(([{letters}])\)", plain))
    if len(bracketed) > 1:
        return None
    head = re.match(rf"^[(\[]?([{letters}])(?:[)\].:,]|\s*$)", plain)
    if head:
        return head[1]
    named = set(re.findall(rf"(?:answer|option|choice)(?: is)?[:\s]*[(\[*]*([{letters}])\b", plain)) or bracketed
    if named:
        return named.pop() if len(named) == 1 else None
    same = [letter for letter, option in options.items() if option.strip().casefold() == plain.rstrip(".").casefold()]
    return same[0] if len(same) == 1 else None


def read_mmbench(path: Path) -> list[Choice]:
    """MMBench's published table.

    Args:
        path: A `.tsv` file with `index`, `question`, `A` to `D`, `answer`, `category` and perhaps `hint`.

    Returns:
        The questions that have an answer.

    Raises:
        EvaluationError: If a column is missing or nothing has an answer.
    """
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file, delimiter="\t")
        missing = {"index", "question", "A", "B", "answer", "category"} - set(table.fieldnames or ())
        if missing:
            raise EvaluationError(f"{path} has no column {sorted(missing)[0]}", "expected MMBench's published .tsv")
        found = [
            Choice(
                row["index"],
                row["category"],
                "\n".join(filter(None, (row.get("hint"), row["question"]))),
                {letter: row[letter] for letter in LETTERS if row.get(letter)},
                row["answer"],
            )
            for row in table
            if row["answer"]
        ]
    return _checked(found, path)


def read_mmmu(data: Path) -> list[Choice]:
    """MMMU's multiple-choice questions.

    Args:
        data: Folder with the published `.parquet` files, or the same rows in one `.jsonl` file: `id`, `question`,
            `options` (a list, or its text), `answer`, `question_type` and perhaps `subfield`.

    Returns:
        The questions of type `multiple-choice`; the category is the subfield, or the subject in the id.

    Raises:
        EvaluationError: If a field is missing or there are none.
    """
    found: list[Choice] = []
    for row, where in rows(data):
        if row.get("question_type", "multiple-choice") != "multiple-choice":
            continue
        key, question, answer = (text(row, name, where) for name in ("id", "question", "answer"))
        options = row.get("options")
        try:
            listed = ast.literal_eval(options) if isinstance(options, str) else options
        except (ValueError, SyntaxError) as error:
            raise EvaluationError(f"{where}: options is {options!r:.80}", "expected a list of texts") from error
        if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
            raise EvaluationError(f"{where}: options is {options!r:.80}", "expected a list of texts")
        category = str(row.get("subfield") or re.sub(r"^[a-z]+_|_\d+$", "", key))
        found.append(Choice(key, category, question, dict(zip(LETTERS, listed, strict=False)), answer))
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
