"""How often a vision-language model says the right thing: counted, without any model."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from omnigen2.encoders import Answer
from omnigen2.training.language.exchanges import Exchange


class Answered(NamedTuple):
    """What was said in an exchange.

    Attributes:
        exchange: What was asked, and the right answer.
        answer: What the model said.
        before: What the model said before it was trained; None where that was not asked.
    """

    exchange: Exchange
    answer: Answer
    before: Answer | None = None

    @property
    def right(self) -> bool:
        """Whether the words are the right ones, and were ended as they should be."""
        expected = "image" if self.exchange.draws else "end"
        return self.answer.stop == expected and self.answer.text.strip() == self.exchange.answer.strip()


def share(marks: Sequence[bool]) -> float:
    """The fraction that is True.

    Raises:
        ValueError: If there is nothing to count.
    """
    if not marks:
        raise ValueError("there is nothing to take a share of; evaluate at least one exchange of each kind")
    return sum(marks) / len(marks)


def understanding_metrics(answered: Sequence[Answered]) -> Mapping[str, float]:
    """How well questions, at least one, are answered.

    `accuracy` is the share of answers that are right word for word; `majority` the accuracy of one who does not look at
    the pictures, but knows the commonest right answer among these questions for each beginning of a question (its first
    two words: "how many", "what colour").
    """
    right: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for each in answered:
        right[tuple(each.exchange.asked.lower().split()[:2])][each.exchange.answer.strip()] += 1
    guessed = sum(max(counts.values()) for counts in right.values())
    return {"accuracy": share([each.right for each in answered]), "majority": guessed / len(answered)}


def drawing_metrics(answered: Sequence[Answered]) -> Mapping[str, float]:
    """How well it is told apart what is to be drawn and what is to be answered.

    Of requests and questions, at least one of each, the questions with the answers from before. `draws`: share of
    requests at which `<|img|>` is said. `refrains`: share of questions at which it is not. `accuracy`: share of all at
    which it is said exactly when it should be. `unchanged`: share of questions without `<|img|>` whose answer is that
    from before, letter for letter; 1 where `<|img|>` is said at every question.
    """
    requests = [each for each in answered if each.exchange.draws]
    questions = [each for each in answered if not each.exchange.draws]
    said = [each.answer.stop == "image" for each in answered]
    worded = [each for each in questions if each.answer.stop != "image"]
    return {
        "draws": share([each.answer.stop == "image" for each in requests]),
        "refrains": share([each.answer.stop != "image" for each in questions]),
        "accuracy": share([each.exchange.draws == image for each, image in zip(answered, said, strict=True)]),
        "unchanged": share([each.answer == each.before for each in worded]) if worded else 1.0,
    }
