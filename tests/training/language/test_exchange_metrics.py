"""What is counted of answers."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.encoders import Answer, Message
from omnigen2.training.language.exchange_metrics import Answered, drawing_metrics, share, understanding_metrics
from omnigen2.training.language.exchanges import Exchange
from tests.training.exchange_parts import QUESTION, REQUEST

ANSWERS = st.builds(Answer, st.sampled_from(["yes", "no", ""]), st.sampled_from(["end", "image", "length"]))
EXCHANGES = st.sampled_from([QUESTION, REQUEST, replace(QUESTION, answer="no")])
ANSWERED = st.lists(st.builds(Answered, EXCHANGES, ANSWERS, ANSWERS), min_size=1, max_size=8).map(
    lambda found: [
        *found,
        Answered(QUESTION, Answer("yes", "end"), Answer("yes", "end")),
        Answered(REQUEST, Answer("", "image")),
    ]
)


@given(answered=ANSWERED, order=st.randoms(use_true_random=False))
def test_metrics_are_shares_that_do_not_depend_on_the_order(answered: list[Answered], order: Any) -> None:
    for metrics in (drawing_metrics, understanding_metrics):
        found = metrics(answered)
        assert all(0 <= value <= 1 for value in found.values())
        shuffled = list(answered)
        order.shuffle(shuffled)
        assert metrics(shuffled) == pytest.approx(found)
        assert metrics(answered * 3) == pytest.approx(found)


@given(answered=ANSWERED)
def test_accuracy_is_the_mean_of_both_kinds_by_their_numbers(answered: list[Answered]) -> None:
    found = drawing_metrics(answered)
    requests = sum(each.exchange.draws for each in answered)
    questions = len(answered) - requests
    right = found["draws"] * requests + found["refrains"] * questions
    assert found["accuracy"] == pytest.approx(right / len(answered))


@given(answered=ANSWERED)
def test_right_and_unchanged_answers_give_one(answered: list[Answered]) -> None:
    stops = {True: "image", False: "end"}
    right = [each._replace(answer=Answer(each.exchange.answer, stops[each.exchange.draws])) for each in answered]
    same = [each._replace(before=each.answer) for each in right]
    assert drawing_metrics(same) == dict.fromkeys(("draws", "refrains", "accuracy", "unchanged"), 1.0)
    assert understanding_metrics(right)["accuracy"] == 1
    first = next(i for i, each in enumerate(same) if not each.exchange.draws)
    changed = [each._replace(before=Answer("else", "end")) if i == first else each for i, each in enumerate(same)]
    questions = sum(not each.exchange.draws for each in same)
    assert drawing_metrics(changed)["unchanged"] == pytest.approx(1 - 1 / questions)


def test_the_majority_is_counted_for_each_kind_of_question() -> None:
    def asked(text: str, answer: str) -> Answered:
        return Answered(Exchange((Message("user", text),), answer, False), Answer("x", "end"))

    answered = [asked("what colour a", "red"), asked("what colour b", "red"), asked("what colour c", "blue")]
    answered += [asked("is there a", "no"), asked("is there b", "yes")]
    assert understanding_metrics(answered) == {"accuracy": 0, "majority": 0.6}
    with pytest.raises(ValueError, match="nothing to take a share of"):
        share([])
