"""Answers, results and tables of benchmarks are read as the official programs read them, or refused by file and line.

Situation: answers of models to MMBench and MMMU (`Answer: B`), a table that was cut off, a `result.json` or a journal
that another program or a person has changed. Nothing of that may end in a traceback, and no question may be lost.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from omnigen2.cli import main
from omnigen2.commands.benchmarks import BENCHMARKS
from omnigen2.errors import UserError
from omnigen2.evaluation import evaluate, marked
from omnigen2.evaluation.judging import (
    BenchmarkResult,
    Choice,
    DetectorResults,
    ImgEditAnswers,
    read_answers,
    read_mmbench,
    read_mmmu,
)
from omnigen2.evaluation.judging.letters import read_letter
from tests.evaluation.cases import OMNI, Fixed, items_of, record, result_of
from tests.evaluation.conftest import folders

__all__ = ["folders"]

OPTIONS = dict(zip("ABCDEFGHIJ", ("a cat", "a dog", "a cow", "none", "e", "f", "g", "h", "i", "j"), strict=True))


@pytest.mark.parametrize(
    "said",
    [
        "{}", "({})", "{}.", "{}:", "{})", "[{}]", "**{}**", "{}, I think", "{}. a dog", "Answer: {}", "answer: {}.",
        "ANSWER: {}", "Answer: ({})", "**Answer:** {}", "**Answer: {}**", "Answer:\n{}", "Option {}", "option ({})",
        "Choice {}.", "The answer is {}", "The answer is: {}.", "The correct answer is option {}.", "\\boxed{{{}}}",
        "The answer is \\boxed{{{}}}.", "I choose ({}) for that.", "Final answer: {}", "$\\boxed{{\\text{{{}}}}}$",
        "<answer>{}</answer>", "<|begin_of_box|>{}<|end_of_box|>", "{{\"answer\": \"{}\"}}", "'{}'", "`{}`", "[[{}]]",
        "Answer: '{}'", "({}) is the right answer.", "{} is correct", "答案：{}", "答案是{}。", "选{}", "（{}）",
        "{}。", "{}、x", "Option D is wrong. The answer is {}", "D. none: no. A. a cat: no. Answer: {}",
        "The answer should be {}.",
    ],
)  # fmt: skip
def test_every_letter_is_read_in_every_usual_form(said: str) -> None:
    assert [read_letter(said.format(letter), OPTIONS) for letter in OPTIONS] == list(OPTIONS)


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("It must be C here", "C"),  # the only letter among the words, as VLMEvalKit reads it
        ("The letter: D", "D"),
        ("The answer is a dog.", "B"),  # its text alone
        ("Answer: a dog", "B"),
        ("A cat sits on the mat", "A"),  # of all options, only the text of this one stands in the answer
        ("a cat and a dog", None),
        ("It is not a dog", None),
        ("A man sits on the mat", None),  # an article
        ("◁think▷A◁/think▷B", "B"),
        ("[THINK]A or B[/THINK]B", "B"),
        ("I do not know", None),  # a pronoun
        ("A or B", None),
        ("A, B", None),
        ("A and C", None),
        ("(A) and (C)", None),
        ("The answer is A or B.", None),
        ("Answer: A, C", None),
        ("Option A is wrong, option B is right", None),
        ("neither B nor C", None),
        ("Answer: K", None),  # no option
        ("answer: b", None),  # a small letter is none in the official programs
        ("<think>A, surely (A)</think>The answer is B", "B"),
    ],
)
def test_what_names_no_option_or_several_stays_unreadable(said: str, letter: str | None) -> None:
    assert read_letter(said, OPTIONS) == letter


def test_what_stays_unreadable_is_wrong_and_counted() -> None:
    choices = [Choice(str(n), "art", "?", {"A": "x", "B": "y"}, "B") for n in range(4)]
    answers = dict(zip("0123", ("Answer: B", "Option A", "A or B", "perhaps"), strict=True))
    records = marked(choices, answers)
    assert [one.scores["accuracy"] for one in records] == [1, 0, 0, 0]
    line = BENCHMARKS["mmmu"].summaries(records)[0].result
    assert (line.values["accuracy"], line.values["readable"]) == (0.25, 0.5)


def test_no_option_of_ten_is_lost(tmp_path: Path) -> None:
    row = {"id": "test_Art_1", "question": "?", "options": [f"text {n}" for n in range(10)], "answer": "J"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    (choice,) = read_mmmu(tmp_path)
    assert list(choice.options) == list("ABCDEFGHIJ")
    (tmp_path / "rows.jsonl").write_text(json.dumps(row | {"options": ["x"] * 27, "answer": "A"}))
    with pytest.raises(UserError, match="at most 26"):
        read_mmmu(tmp_path)


HEAD = "index\tquestion\tA\tB\tanswer\tcategory\timage\n"
ROW = "7\tq\tx\ty\tA\tc\t\n"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (HEAD + ROW + "8\tq\tx\ty\tA\n", "line 3 has more or fewer cells"),
        (HEAD + ROW + "8\tq", "line 3 has more or fewer cells"),
        (HEAD + "8\tq\tx\ty\tA\tc\t\tz\n", "line 2 has more or fewer cells"),
        (HEAD + "8\tq\tx\ty\tA\t\t\n", "line 2 has no category"),
        (HEAD + "²\tq\tx\ty\tA\tc\t\n", "the index '²' is no whole number"),
        (HEAD + f"{'9' * 5000}\tq\tx\ty\tA\tc\t\n", "is no whole number"),
        (HEAD + "8\tq\tx\ty\tA\tc\t9999\n", "the picture of question 8"),
        (HEAD.replace("B", "A") + ROW, "has no column B"),
        ("index\t" + HEAD + "7\t" + ROW, "has a column twice"),
        (HEAD + ROW + "8\tq\tx\ty\tA\t\udcff\t\n", "cannot be read"),
        ("", "has no column"),
    ],
)
def test_a_table_that_lost_something_is_named_by_its_line(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "a.tsv").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=rf"a\.tsv.*{told}"):
        read_mmbench(tmp_path / "a.tsv")


def test_a_table_with_a_byte_order_mark_and_a_picture_of_a_row_without_answer_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"\xef\xbb\xbf" + f"{HEAD}9\tq\tx\ty\t\tc\tAAAA\n8\tq\tx\ty\tA\tc\t9\n".encode())
    (choice,) = read_mmbench(tmp_path / "a.tsv")
    assert choice.images == (b"\0\0\0",)
    with pytest.raises(UserError, match="--data names"):
        read_mmbench(tmp_path / "none.tsv")
    with pytest.raises(UserError, match="--data names"):
        read_mmbench(tmp_path)


BAD_JSON = ("[]", "null", "3", '"x"', "true", "{", "[" * 5000, "1" * 5000, "\udcff", '{"a": 1, "a": 2}')
READERS: tuple[Callable[[Path], Any], ...] = (
    read_answers,
    BenchmarkResult.load,
    lambda path: ImgEditAnswers(path, "m"),
    lambda path: DetectorResults(path, "m"),
)


@pytest.mark.parametrize("content", BAD_JSON)
@pytest.mark.parametrize("reader", READERS)
def test_json_that_is_no_object_is_named_by_its_file(
    tmp_path: Path, reader: Callable[[Path], Any], content: str
) -> None:
    path = tmp_path / "it.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"it\.json"):
        reader(path)


def changed(result: dict[str, Any], place: str, value: Any) -> dict[str, Any]:
    """A result in which one value is another."""
    *outer, last = place.split(".")
    inner: Any = result
    for name in outer:
        inner = inner[int(name) if name.isdigit() else name]
    inner[last] = value
    return result


WRONG = ([], {}, None, True, "x", 3, float("nan"), 10**400, {"a": []}, [1], "\ud800")


@pytest.mark.parametrize("value", WRONG, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize(
    "place",
    [
        "format", "benchmark", "name", "protocol", "protocol.judge", "protocol.temperature", "protocol.passes",
        "protocol.image_size", "protocol.seed", "protocol.settings", "records", "records.0.group", "records.0.key",
        "records.0.digest", "records.0.scores", "records.0.scores.prompt_following", "records.0.reasons",
        "records.0.problem", "records.0.subsets", "drawn",
    ],
)  # fmt: skip
def test_a_value_of_another_type_in_a_result_is_told_or_harmless(
    tmp_path: Path, place: str, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "result.json"
    result_of([record(0, 1), record(1, 2)]).save(path)
    path.write_text(json.dumps(changed(json.loads(path.read_text()), place, value)))
    status = main(["evaluate", "compare", str(path), str(path)])
    said = capsys.readouterr()
    if status == 0:
        assert (place, repr(value)) in FITTING
        assert "over the 1 of 2 items" in said.out.lower() or "over the 2 of 2 items" in said.out.lower()
    else:
        assert len(said.err.splitlines()) == 2
        assert any(word in said.err for word in ("result.json", "the result of", "benchmark", "valid in both"))


FITTING = {
    *((place, repr("x")) for place in ("name", "protocol.judge", "records.0.key", "records.0.digest")),
    *((f"protocol.{name}", repr(3)) for name in ("temperature", "passes", "image_size", "seed")),
    ("records.0.scores.prompt_following", repr(3)),
    *(
        (place, repr(None))
        for place in ("protocol.temperature", "protocol.image_size", "protocol.seed", "records.0.problem", "drawn")
    ),
    *((place, repr({})) for place in ("protocol.settings", "records.0.reasons")),
    *((place, repr([])) for place in ("records.0.subsets", "drawn")),
    *((place, repr(None)) for place in ("records.0.subsets",)),
    *((place, repr("x")) for place in ("records.0.problem",)),
}
"""Values that a result can have there."""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scores": {"prompt_following": 99, "subject_consistency": 1}}, "prompt_following is 99, expected 0 to 10"),
        ({"scores": {"prompt_following": 9}}, "the judge gave no subject_consistency"),
        ({"scores": {"prompt_following": True, "subject_consistency": 1}}, "prompt_following true"),
        ({"scores": [1, 2]}, "line 1 has scores"),
        ({"key": 7}, "line 1 has key 7"),
    ],
)
def test_a_journal_that_was_changed_is_told_before_anything_is_judged(
    folders: tuple[Path, Path], tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    out = tmp_path / "out"
    evaluate(OMNI, items_of(folders), Fixed(), out, "mine")
    first, *rest = (out / "judgements.jsonl").read_text().splitlines()
    (out / "judgements.jsonl").write_text("\n".join([json.dumps(json.loads(first) | change), *rest, ""]))
    judge = Fixed()
    with pytest.raises(UserError, match=told):
        evaluate(OMNI, items_of(folders), judge, out, "mine")
    assert judge.asked == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"task_type": "single_objects"}, "line 1: OmniContext has no group 'single_objects'"),
        ({"task_type": True}, "line 1: task_type is True"),
        ({"instruction": {}}, "line 1: instruction is {}"),
        ({"instruction": "\ud800"}, "line 1 has instruction"),
        ({"input_images": "input.png"}, "line 1: input_images is 'input.png'"),
        ({"input_images": True}, "line 1: input_images is True"),
        ({"input_images": []}, "line 1: input_images is"),
        ({"input_images": [None]}, "line 1: there is no picture 'None'"),
        ({"instruction_language": 3.5}, "line 1: instruction_language is 3.5"),
    ],
)
def test_a_row_that_no_judge_could_use_is_told_before_anything_is_judged(
    folders: tuple[Path, Path], tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    path = folders[1] / "data.jsonl"
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | change), *others]))
    judge = Fixed()
    with pytest.raises(UserError, match=told):
        evaluate(OMNI, items_of(folders), judge, tmp_path / "out", "mine")
    assert judge.asked == []
