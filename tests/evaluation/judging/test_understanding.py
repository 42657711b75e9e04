"""Multiple-choice accuracy."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnigen2.cli import main
from omnigen2.encoders import Answer, QwenEncoder
from omnigen2.evaluation.judging import Choice, ChoiceAccuracy, mark, read_answers, read_mmbench, read_mmmu
from omnigen2.evaluation.judging.letters import read_letter
from omnigen2.generate import make_tiny

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
        ("A man sits on the mat", None),
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


@given(letters=st.lists(st.sampled_from("ABCDx"), min_size=1, max_size=6))
def test_a_question_counts_once_and_only_if_all_its_rotations_are_right(letters: list[str]) -> None:
    rotations = [
        Choice(f"{n}", "a", "?", OPTIONS, "ABCD"[n % 4], original="0" if n else "") for n in range(len(letters))
    ]
    (found,) = mark(rotations, letters)
    assert found.right == all(said == choice.answer for said, choice in zip(letters, rotations, strict=True))
    assert found.readable == ("x" not in letters)
    assert mark(rotations[::-1], letters[::-1]) == [found]
    metric = ChoiceAccuracy("Quiz", ["a"])
    metric.update(rotations, letters)
    assert (metric.compute()["accuracy"], metric.compute()["total"]) == (float(found.right), 1)


PICTURE = base64.b64encode(b"bytes of a picture").decode()


def test_mmbench_is_read(tmp_path: Path) -> None:
    path = tmp_path / "dev.tsv"
    head = "index\thint\tquestion\tA\tB\tC\tD\tanswer\tcategory\timage\n"
    first = f"7\tLook.\tWhat?\ta cat\ta dog\t\t\tB\tanimals\t{PICTURE}\n"
    path.write_text(
        f"{head}{first}8\t\tWho?\tx\ty\t\t\t\tpeople\tAAAA\n1000007\t\tWhat?\ta dog\ta cat\t\t\tA\tanimals\t7\n"
    )
    pictures = (b"bytes of a picture",)
    assert read_mmbench(path) == [
        Choice("7", "animals", "Look.\nWhat?", {"A": "a cat", "B": "a dog"}, "B", pictures),
        Choice("1000007", "animals", "What?", {"A": "a dog", "B": "a cat"}, "A", pictures, "7"),
    ]
    path.write_text("index\tquestion\n")
    with pytest.raises(ValueError, match="no column A"):
        read_mmbench(path)
    path.write_text(head + first.replace(PICTURE, "no base64!"))
    with pytest.raises(ValueError, match="picture of question 7 is no base64"):
        read_mmbench(path)
    path.write_text(head + first.replace("7", "seven", 1))
    with pytest.raises(ValueError, match="index 'seven' is no whole number"):
        read_mmbench(path)


def write_mmmu(folder: Path, changes: Sequence[Mapping[str, Any]]) -> None:
    row = {"id": "validation_Art_Theory_1", "question": "<image 1>?", "options": "['x', 'y']", "answer": "B"}
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("\n".join(json.dumps({**row, **change}) for change in changes))


def test_mmmu_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    open_question = {"id": "validation_Art_2", "question_type": "open", "answer": "3"}
    write_mmmu(tmp_path, [{"image_1": "one.png", "image_2": None, "subfield": "Sculpture"}, open_question])
    (found,) = read_mmmu(tmp_path)
    options, files = {"A": "x", "B": "y"}, (tmp_path / "one.png",)
    assert found == Choice("validation_Art_Theory_1", "Art_Theory", "<image 1>?", options, "B", files)
    write_mmmu(tmp_path, [{"answer": "C"}])
    with pytest.raises(ValueError, match="question validation_Art_Theory_1 is 'C'"):
        read_mmmu(tmp_path)
    write_mmmu(tmp_path, [{"id": "7"}])
    with pytest.raises(ValueError, match="id '7' has no subject"):
        read_mmmu(tmp_path)


def test_answers_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"key": 7, "answer": "A"}\n{"key": "8", "answer": "B"}')
    (tmp_path / "a.json").write_text('{"7": "A", "8": "B"}')
    assert read_answers(tmp_path / "a.jsonl") == read_answers(tmp_path / "a.json") == {"7": "A", "8": "B"}
    (tmp_path / "a.json").write_text('{"7": ["A"]}')
    with pytest.raises(ValueError, match=r"has 7 \[\"A\"\], expected an answer in words"):
        read_answers(tmp_path / "a.json")
    with pytest.raises(ValueError, match="there is no file"):
        read_answers(tmp_path / "b.jsonl")


def test_answers_of_a_file_are_marked_and_what_was_not_asked_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_mmmu(tmp_path / "data", [{"id": f"validation_{name}"} for name in ("Art_1", "Art_2", "Math_1", "Math_2")])
    answers = {"validation_Art_1": "B", "validation_Art_2": "perhaps", "validation_Math_1": "(B)"}
    (tmp_path / "mine.json").write_text(json.dumps(answers))
    words = ["evaluate", "mmmu", "--data", str(tmp_path / "data"), "--answers", str(tmp_path / "mine.json")]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "| Art | 0.50 | 0.50 | 2 / 2 |" in said
    assert "| overall | 0.67 | 0.67 | 3 / 4 |" in said
    report = (tmp_path / "out" / "report.md").read_text()
    assert "| overall | 0.67 | 3 / 4 | 0.53 |" in report
    assert "gallery" not in report
    assert main(["evaluate", "compare", str(tmp_path / "out"), str(tmp_path / "out")]) == 0


def test_the_model_is_asked_once_and_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = make_tiny(tmp_path / "tiny"), tmp_path / "out"
    write_mmmu(tmp_path / "data", [{"id": f"validation_Art_{number}", "image_1": "one.png"} for number in range(3)])
    Image.new("RGB", (56, 56)).save(tmp_path / "data" / "one.png")
    asked: list[str] = []

    def answer(self: QwenEncoder, talks: Any, max_new_tokens: int) -> list[Answer]:
        if len(asked) == 2 and not (tmp_path / "again").exists():
            raise KeyboardInterrupt
        asked.append(talks[0][1].text)
        assert len(talks[0][1].images) == 1
        real(self, talks, max_new_tokens=2)
        return [Answer("B", "end")]

    real = QwenEncoder.answer
    monkeypatch.setattr(QwenEncoder, "answer", answer)
    words = ["evaluate", "mmmu", "--data", str(tmp_path / "data"), "--model", str(model), "--out", str(out)]
    assert main(words) == 130
    (tmp_path / "again").touch()
    with (out / "answers.jsonl").open("a") as file:
        file.write('{"key": "cut off')
    assert main(words) == 0
    assert main(words) == 0
    assert len(asked) == 3
    assert asked[0] == "<image 1>?\nA. x\nB. y\nAnswer with the letter of the right option."
    assert "| overall | 1.00 | 1.00 | 3 / 3 |" in capsys.readouterr().out
