"""Multiple-choice accuracy."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.evaluation.understanding import Choice, ChoiceAccuracy, read_letter, read_mmbench, read_mmmu

OPTIONS = {"A": "a cat", "B": "a dog", "C": "a cow", "D": "none"}


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("B", "B"),
        ("(B)", "B"),
        ("B.", "B"),
        (" **B** ", "B"),
        ("B: a dog", "B"),
        ("The answer is B", "B"),
        ("the correct answer is (C).", "C"),
        ("I would say (D).", "D"),
        ("A dog", "B"),
        ("a cat.", "A"),
        ("A cat sits on the mat", None),
        ("answer is A or answer is B", None),
        ("(A) or (B)", None),
        ("E", None),
        ("", None),
        ("I do not know", None),
    ],
)
def test_letters_are_read(said: str, letter: str | None) -> None:
    assert read_letter(said, OPTIONS) == letter


@given(said=st.text(max_size=40))
def test_any_text_gives_an_option_or_nothing(said: str) -> None:
    assert read_letter(said, OPTIONS) in {*OPTIONS, None}


def test_an_unreadable_answer_is_wrong_and_an_unasked_question_failed() -> None:
    choices = [Choice(str(n), "animals" if n < 3 else "plants", "?", OPTIONS, "B") for n in range(5)]
    metric = ChoiceAccuracy("Quiz", ["animals", "plants"])
    metric.update(choices, ["B", "A", "mu", "B", None])
    found = metric.compute()
    assert found["accuracy"] == 2 / 4  # over questions, not over categories
    assert found["readable"] == 3 / 4
    assert found["animals/accuracy"].item() == pytest.approx(1 / 3)
    assert "1 of 5 judgements failed" in str(metric)
    with pytest.raises(ValueError, match="5 questions and 1 answers"):
        metric.update(choices, ["B"])


def test_mmbench_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dev.tsv"
    path.write_text(
        "index\thint\tquestion\tA\tB\tC\tD\tanswer\tcategory\timage\n"
        "7\tLook.\tWhat?\ta cat\ta dog\t\t\tB\tanimals\tAAAA\n8\t\tWho?\tx\ty\t\t\t\tpeople\tAAAA\n"
    )
    assert read_mmbench(path) == [Choice("7", "animals", "Look.\nWhat?", {"A": "a cat", "B": "a dog"}, "B")]
    path.write_text("index\tquestion\n")
    with pytest.raises(ValueError, match="no column A"):
        read_mmbench(path)


def test_mmmu_is_read(tmp_path: Path) -> None:
    row = {"id": "validation_Art_1", "question": "<image 1>?", "options": "['x', 'y']", "answer": "B"}
    rows = [row, {**row, "id": "validation_Art_2", "question_type": "open", "answer": "3"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_mmmu(tmp_path) == [Choice("validation_Art_1", "Art", "<image 1>?", {"A": "x", "B": "y"}, "B")]
    (tmp_path / "rows.jsonl").write_text(json.dumps({**row, "answer": "C"}))
    with pytest.raises(ValueError, match="question validation_Art_1 is 'C'"):
        read_mmmu(tmp_path)
