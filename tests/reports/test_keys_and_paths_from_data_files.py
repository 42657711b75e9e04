"""Names in data files stay in their folder and stand for one thing: else the file and the lines are named.

Situation: `omnigen2 evaluate` on data sets, tasks, verdicts and answers that others wrote. What a row names becomes
part of a path that is drawn to and judged; a key that comes twice must not be one of two things in silence.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from omnigen2.cli import main
from omnigen2.commands.benchmarks import BENCHMARKS
from omnigen2.errors import UserError
from omnigen2.evaluation import ask, evaluate
from omnigen2.evaluation.judging import (
    BenchmarkItem,
    Choice,
    DetectorResults,
    ImgEditAnswers,
    Journal,
    Record,
    read_answers,
    read_mmbench,
    read_mmmu,
)
from omnigen2.files import inside, plain_name
from tests.evaluation.cases import Fixed, write_picture

NO_NAMES = ("../../x", "/x", "a/b", "a\\b", "..", ".", "...", "a\0b", "a\nb", "\ud800", " ", "x" * 201)
NO_PATHS = ("../x.png", "a/../../x.png", "/etc/x.png", "C:\\x.png", "a\0.png", "\ud800.png")
"""Paths of pictures that leave the data set's folder, or cannot be any."""
OMNI: dict[str, Any] = {
    "key": "k0", "task_type": "single_object", "instruction": "x", "input_images": ["in.png"]
}  # fmt: skip
GEDIT: dict[str, Any] = {
    "key": "k0", "task_type": "ps_human", "instruction": "x", "instruction_language": "en", "input_image": "in.png"
}  # fmt: skip
EMU: dict[str, Any] = {"idx": 0, "task": "add", "instruction": "x", "output_caption": "y", "image": "in.png"}
IMGEDIT: dict[str, Any] = {"id": "in.png", "prompt": "x", "edit_type": "add"}
TASK = "no task: whoever reads the key first does not come to it"


def jsonl(folder: Path, *rows: Mapping[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    write_picture(folder / "in.png")
    (folder / "m" / "fullset").mkdir(parents=True, exist_ok=True)
    return folder


def items(benchmark: str, folder: Path) -> list[BenchmarkItem]:
    return BENCHMARKS[benchmark].items(folder / "m", folder)


@pytest.mark.parametrize("name", NO_NAMES)
@pytest.mark.parametrize(
    ("benchmark", "row", "field"),
    [
        ("omnicontext", OMNI, "task_type"),
        ("omnicontext", OMNI, "key"),
        ("gedit", GEDIT, "task_type"),
        ("gedit", GEDIT, "instruction_language"),
        ("gedit", GEDIT, "key"),
        ("emu-edit", EMU, "idx"),
    ],
)
def test_a_row_cannot_name_a_picture_outside_of_its_folder(
    tmp_path: Path, benchmark: str, row: dict[str, Any], field: str, name: str
) -> None:
    with pytest.raises(UserError, match=rf"rows.jsonl, line 2.*{field}"):
        items(benchmark, jsonl(tmp_path / "data", row, row | {"key": "k1", "idx": 1, field: name}))


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_key_of_imgedit_or_of_tasks_cannot_either(tmp_path: Path, name: str) -> None:
    folder = jsonl(tmp_path / "data", OMNI)
    (folder / "basic_edit.json").write_text(json.dumps({"1": IMGEDIT, name: IMGEDIT}))
    with pytest.raises(UserError, match="basic_edit.json, key"):
        items("imgedit", folder)
    (folder / "tasks.jsonl").write_text(json.dumps({"key": name, "task": TASK}))
    with pytest.raises(UserError, match="tasks.jsonl, line 1.*key"):
        BENCHMARKS["micro-geneval"].items(folder, None)


@pytest.mark.parametrize("name", NO_PATHS)
def test_a_row_cannot_show_a_judge_pictures_from_elsewhere(tmp_path: Path, name: str) -> None:
    write_picture(tmp_path / "x.png")
    cases: dict[str, dict[str, Any]] = {
        "omnicontext": OMNI | {"input_images": ["in.png", name]},
        "gedit": GEDIT | {"input_image_raw": name},
        "emu-edit": EMU | {"image": {"bytes": None, "path": name}},
    }
    for benchmark, row in cases.items():
        with pytest.raises(UserError, match="line 1: the picture .* is no path inside"):
            items(benchmark, jsonl(tmp_path / benchmark, row))
    folder = jsonl(tmp_path / "imgedit", OMNI)
    (folder / "basic_edit.json").write_text(json.dumps({"1": IMGEDIT | {"id": name}}))
    with pytest.raises(UserError, match="key '1'.*(is no path inside|half a character)"):
        items("imgedit", folder)


def test_names_and_paths_as_they_are_published_are_taken(tmp_path: Path) -> None:
    assert [plain_name(name, "it") for name in ("0", "subject-add", "a b.c", "猫", ".x")][3] == "猫"
    assert inside(tmp_path, "animal/000342021.jpg", "it") == tmp_path / "animal" / "000342021.jpg"
    assert inside(tmp_path, str(tmp_path / "a.png"), "it") == tmp_path / "a.png"


def test_nothing_is_drawn_outside_of_the_folder(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = jsonl(tmp_path / "data", OMNI | {"task_type": "../../../escaped"})
    words = ["evaluate", "omnicontext", "--data", data, "--images", data / "m", "--model", model]
    assert main([*map(str, words), "--judge", "http://127.0.0.1:9", "--judge_model", "m"]) == 2
    assert "line 1: the task_type '../../../escaped' is no file name" in capsys.readouterr().err
    assert not list(tmp_path.rglob("escaped*"))


@pytest.mark.parametrize(
    ("benchmark", "rows"),
    [
        ("omnicontext", [OMNI, OMNI | {"key": "k1"}, OMNI]),
        ("omnicontext", [OMNI, OMNI | {"key": "k1"}, OMNI | {"instruction": "y"}]),
        ("gedit", [GEDIT, GEDIT | {"instruction_language": "cn"}, GEDIT]),
        ("gedit", [GEDIT | {"key": 1}, GEDIT, GEDIT | {"key": "1"}]),
        ("emu-edit", [EMU, EMU | {"idx": 1}, EMU | {"task": "remove"}]),
    ],
)
def test_an_item_that_comes_twice_is_named_with_both_lines(
    tmp_path: Path, benchmark: str, rows: list[dict[str, Any]]
) -> None:
    with pytest.raises(UserError, match=r"rows.jsonl, line 3: .* comes again, first at .*rows.jsonl, line 1"):
        items(benchmark, jsonl(tmp_path / "data", *rows))


HEAD = "index\tquestion\tA\tB\tanswer\tcategory\timage\n"


def write(text: str) -> Callable[[Path], Path]:
    def at(path: Path) -> Path:
        path.write_text(text)
        return path

    return at


def mmmu(path: Path) -> Any:
    row = {"id": "validation_Art_1", "question": "?", "options": ["x", "y"], "answer": "A"}
    return read_mmmu(jsonl(path / "mmmu", row, row | {"answer": "B"}))


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (lambda d: read_mmbench(write(HEAD + "7\tq\tx\ty\tA\tc\t\n" * 2)(d / "a.tsv")), "line 3: the index '7'"),
        (lambda d: read_mmbench(write(HEAD + "7\tq\tx\ty\tA\tc\t\n07\tq\tx\ty\tB\tc\t\n")(d / "a.tsv")), "line 3"),
        (mmmu, "line 2: the id 'validation_Art_1'"),
        (
            lambda d: read_answers(write('{"key": 1, "answer": "A"}\n{"key": "1", "answer": "B"}')(d / "a.jsonl")),
            "line 2: the key '1' comes again and says something else, first at .*line 1",
        ),
        (lambda d: read_answers(write('{"1": "A", "1": "B"}')(d / "a.json")), "a.json has 1 twice"),
        (lambda d: ImgEditAnswers(write('{"1": "A", "1": "B"}')(d / "a.json"), "m"), "a.json has 1 twice"),
        (
            lambda d: DetectorResults(
                write(
                    '{"filename": "x/00000/samples/0000.png", "correct": true}\n\n'
                    '{"filename": "y/00000/samples/0000.png", "correct": false}'
                )(d / "a.jsonl"),
                "m",
            ),
            "line 3: the verdict of '00000/samples/0000.png' comes again and says something else, first at .*line 1",
        ),
    ],
)
def test_a_key_that_stands_for_two_things_is_named(tmp_path: Path, read: Callable[[Path], Any], told: str) -> None:
    with pytest.raises(UserError, match=told):
        read(tmp_path)


def test_the_same_line_again_is_one(tmp_path: Path) -> None:
    answers = write('{"key": 1, "answer": "A"}\n{"key": "1", "answer": "A"}')(tmp_path / "a.jsonl")
    assert read_answers(answers) == {"1": "A"}
    verdict = '{"filename": "x/00000/samples/0000.png", "correct": true}\n'
    assert DetectorResults(write(verdict * 2)(tmp_path / "v.jsonl"), "m").verdicts == {"00000/samples/0000.png": True}


def journal(path: Path, *scores: float) -> Path:
    record = Record("single_object", "en", "k0", "d")
    lines = [Record.to_json(record) | {"scores": {"a": score}} for score in scores]
    return write("".join(json.dumps(line) + "\n" for line in lines))(path)


def test_two_judgements_of_one_item_are_refused_and_the_same_twice_is_one(tmp_path: Path) -> None:
    assert len(Journal(journal(tmp_path / "same.jsonl", 4, 4))) == 1
    with pytest.raises(UserError, match="line 2: the judgement of .* comes again and says something else"):
        Journal(journal(tmp_path / "two.jsonl", 4, 5))


def test_two_items_that_look_alike_keep_their_own_judgements(tmp_path: Path) -> None:
    """One picture for one instruction under two keys: what a judge said of each is found again, not one for both."""
    data = jsonl(tmp_path / "data", OMNI, OMNI | {"key": "k1"})
    for key in ("k0", "k1"):
        write_picture(data / "m" / "fullset" / "single_object" / f"{key}.png")
    benchmark, found = BENCHMARKS["omnicontext"], items("omnicontext", data)
    evaluate(benchmark, found[:1], Fixed((2, 2)), tmp_path / "out", "x")
    (tmp_path / "out" / "judgements.jsonl").rename(tmp_path / "first")
    evaluate(benchmark, found[1:], Fixed((8, 8)), tmp_path / "out", "x")
    with (tmp_path / "out" / "judgements.jsonl").open("a") as file:
        file.write((tmp_path / "first").read_text())
    again = evaluate(benchmark, found, Fixed(), tmp_path / "out", "x")
    assert [record.scores["prompt_following"] for record in again.records] == [2, 8]


def test_two_answers_of_the_model_to_one_question_are_refused(tmp_path: Path) -> None:
    choices, path = [Choice("1", "art", "?", {"A": "x", "B": "y"}, "A")], tmp_path / "answers.jsonl"
    assert ask(choices, lambda: lambda system, question, images: "A", (), path) == {"1": "A"}
    assert ask(choices, lambda: pytest.fail("asked again"), (), path) == {"1": "A"}
    line = json.loads(path.read_text())
    path.write_text(f"{json.dumps(line)}\n{json.dumps(line | {'answer': 'B'})}\n")
    with pytest.raises(UserError, match="line 2: the answer to '1' comes again and says something else"):
        ask(choices, lambda: pytest.fail("asked again"), (), path)
    path.write_text(json.dumps({"key": "1", "digest": line["digest"]}) + "\n")
    with pytest.raises(UserError, match="line 1 has no answer"):
        ask(choices, lambda: pytest.fail("asked again"), (), path)


@pytest.mark.parametrize("name", [name for name in NO_NAMES if name not in ("\ud800", "a\0b")])
def test_the_name_of_a_report_is_a_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "micro-edit", "--images", "drawn", "--judge", "rules", f"--name={name}"]) == 2
    assert "error: --name " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
