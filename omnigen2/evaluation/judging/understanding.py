"""Accuracy on multiple-choice questions about pictures."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from omnigen2.evaluation.judging.judge import PictureFile
from omnigen2.evaluation.judging.letters import read_letter
from omnigen2.evaluation.metrics import GroupedMean

LETTERS = string.ascii_uppercase


@dataclass(frozen=True, slots=True)
class Choice:
    """One question with its options by letter, the right letter, and pictures in their order.

    Attributes:
        original: Key of the question that this one asks again with rotated options; empty if it is no rotation.
        where: The file and the row that has it, for messages.
    """

    key: str
    category: str
    question: str
    options: Mapping[str, str]
    answer: str
    images: tuple[PictureFile, ...] = ()
    original: str = ""
    where: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Mark:
    """How one question was answered, over all its rotations.

    Attributes:
        key: Of the question as it is first asked.
        right: Whether every rotation was answered rightly.
        readable: Whether every answer had a readable letter.
        asked: Whether every rotation was asked.
    """

    key: str
    category: str
    right: bool
    readable: bool
    asked: bool


class ChoiceAccuracy(GroupedMean):
    """Share of right answers per category, and over all questions.

    An answer without a readable letter is wrong, and the share of readable ones is shown beside: unlike MMMU's
    official program, which replaces it by a random letter.
    """

    def __init__(self, title: str, categories: Sequence[str]) -> None:
        lines = {name: [[name]] for name in categories}
        super().__init__(
            title, categories, ("accuracy", "readable"), {**lines, "overall": [list(categories)]}, highest=1
        )

    def update(self, choices: Sequence[Choice], said: Sequence[str | None]) -> None:
        """Count answers.

        Args:
            choices: The questions; all rotations of a question in one call. See `mark`.

        Raises:
            ValueError: If a category is unknown, or numbers differ.
        """
        marks = mark(choices, said)
        scores = torch.tensor([[one.right, one.readable] for one in marks], dtype=torch.float64).reshape(-1, 2)
        self.add([one.category for one in marks], scores, torch.tensor([one.asked for one in marks], dtype=torch.bool))


def mark(choices: Sequence[Choice], said: Sequence[str | None]) -> list[Mark]:
    """Mark answers. A question that is asked several times with rotated options counts once, and only if all are right.

    Args:
        said: What the model wrote to each; None if it was not asked.

    Returns:
        One mark for each question that is no rotation of another, in the order in which they first come.

    Raises:
        ValueError: If numbers differ.

    Source: MMBench's CircularEval, arXiv:2307.06281; vlmeval/dataset/utils/multiple_choice.py in
        open-compass/VLMEvalKit, which asks a model, or chance, about answers without a readable letter; here they are
        wrong.
    """
    if len(choices) != len(said):
        raise ValueError(f"got {len(choices)} questions and {len(said)} answers; give one for each")
    found: dict[str, Mark] = {}
    for choice, one in zip(choices, said, strict=True):
        letter = None if one is None else read_letter(one, choice.options)
        key = choice.original or choice.key
        before = found.get(key, Mark(key, choice.category, right=True, readable=True, asked=True))
        found[key] = Mark(
            key,
            before.category,
            right=before.right and letter == choice.answer,
            readable=before.readable and letter is not None,
            asked=before.asked and one is not None,
        )
    return list(found.values())
