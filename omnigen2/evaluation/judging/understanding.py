"""Accuracy on multiple-choice questions about pictures."""

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from omnigen2.evaluation.judging.judge import PictureFile
from omnigen2.evaluation.metrics import GroupedMean
from omnigen2.rl.rewards import without_thoughts

LETTERS = string.ascii_uppercase


@dataclass(frozen=True, slots=True)
class Choice:
    """One question with its options by letter, the right letter, and pictures in their order.

    Attributes:
        original: Key of the question that this one asks again with rotated options; empty if it is no rotation.
    """

    key: str
    category: str
    question: str
    options: Mapping[str, str]
    answer: str
    images: tuple[PictureFile, ...] = ()
    original: str = ""


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


def read_letter(said: str, options: Mapping[str, str]) -> str | None:
    """The letter that an answer chooses; thoughts before the answer are left out.

    Returns:
        The only letter that it names in one of the usual ways (`B`, `(B)`, `B.`, `B: a cat`, `Answer: B`, `Option B`,
        `the answer is B`), else that of the only option whose text is the answer, else the only letter of an option
        that stands alone among its words; None if there is none or more than one. Letters are capital.

    Source: the last is `can_infer_option` of vlmeval/utils/matching_util.py in open-compass/VLMEvalKit, which reads
        MMBench: marks become spaces, and one letter has to be there. `parse_multi_choice_response` of
        eval/utils/eval_utils.py in MMMU-Benchmark/MMMU reads `(B)`, `B` and `B.` anywhere, takes the last of several
        and draws one where there is none; here both are unreadable. In more than three words, `A` and `I` alone may be
        an article and a pronoun, and are read only behind "answer", "option" or "choice".
    """
    answer = without_thoughts(said)
    if answer is None:
        return None
    plain = answer.strip().strip("*").strip()
    one = f"[{''.join(options)}]" if options else "(?!)"
    several = rf"({one})\b(?:[)\]*]*\s*(?:,|/|&|\bor\b|\band\b)\s*[(\[*]*({one})\b(?!\s+\w))?"
    bracketed = set(re.findall(rf"\(({one})\)", plain))
    if len(bracketed) > 1:
        return None
    head = re.match(rf"^[(\[]?{several}", plain)
    if head and re.match(r"[)\].:,]|\s*$", plain[head.end() :] if head[2] else plain[head.end(1) :]):
        return None if head[2] else head[1]
    named = re.findall(rf"\b(?i:(?:answer|option|choice|boxed)(?: is)?)[\s:*{{(\[]*{several}", plain)
    found = {letter for pair in named for letter in pair if letter} or bracketed
    if found:
        return found.pop() if len(found) == 1 else None
    same = [letter for letter, option in options.items() if option.strip().casefold() == plain.rstrip(".").casefold()]
    return same[0] if len(same) == 1 else _alone(plain, options)


def _alone(plain: str, options: Mapping[str, str]) -> str | None:
    """The only letter of an option among the words."""
    words = re.sub(r"[.()\[\],:;!*#{}]", " ", plain).split()
    found = {word for word in words if word in options}
    if len(found) != 1 or (found <= {"A", "I"} and len(words) > 3):
        return None
    return found.pop()
