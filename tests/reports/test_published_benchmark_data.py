"""Benchmarks are read as they are published, and what lacks a part is refused before anything is drawn or judged.

Situation: `omnigen2 evaluate` on downloads of the Hugging Face hub (`data/train-00000-of-00002.parquet`, the hub's own
`default/train/0000.parquet`, a folder for each subject), on answers and verdicts of the official programs, and on
downloads that stopped half-way: fewer files than there should be, or pointers of Git LFS in their place.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from omnigen2.cli import main
from omnigen2.commands.benchmarks import BENCHMARKS
from omnigen2.commands.evaluate_drawing import draw
from omnigen2.errors import UserError
from omnigen2.evaluation import evaluate, write_report
from omnigen2.evaluation.judging import BenchmarkResult, DetectorResults, read_answers, read_mmbench, read_mmmu
from omnigen2.evaluation.judging.tables import rows
from omnigen2.generate import Job, read_parameters
from omnigen2.rl import Judgement
from tests.evaluation.cases import Fixed, write_picture
from tests.rl.loopback import Answer, chat_answer, loopback


def png() -> dict[str, Any]:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": "x.png"}


OMNI = {"key": "k", "task_type": "single_object", "instruction": "x", "input_images": [png(), png()]}
GEDIT = {
    "key": "0a", "task_type": "ps_human", "instruction": "x", "instruction_language": "cn", "input_image": png(),
    "input_image_raw": png(), "Intersection_exist": True,
}  # fmt: skip
EMU = {
    "instruction": "x", "input_caption": "a", "output_caption": "b", "image": png(), "hash": "h", "task": "add",
    "split": "test", "idx": 3,
}  # fmt: skip
MMMU = {
    "id": "validation_Art_1", "question": "<image 1>?", "options": "['$6', \"it's\"]", "explanation": "", "answer": "B",
    "image_1": png(), "image_2": None, "question_type": "multiple-choice",
}  # fmt: skip
OPEN = MMMU | {"id": "validation_Art_2", "question_type": "open", "options": "[]", "answer": "['1', '2']"}


def table(path: Path, *values: dict[str, Any]) -> Path:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.Table.from_pylist(list(values)), path)
    return path


@pytest.mark.parametrize(
    "name",
    ["data/train-00000-of-00001.parquet", "default/train/0000.parquet", "data/train-00000-of-00001-9f3a.parquet"],
)
@pytest.mark.parametrize(("benchmark", "row"), [("omnicontext", OMNI), ("gedit", GEDIT), ("emu-edit", EMU)])
def test_downloads_of_the_hub_are_read(tmp_path: Path, benchmark: str, row: dict[str, Any], name: str) -> None:
    file = table(tmp_path / "hub" / name, row)
    (tmp_path / "m" / "fullset").mkdir(parents=True)
    for data in (tmp_path / "hub", file.parent, file, tmp_path / "hub" / "train"):
        (item,) = BENCHMARKS[benchmark].items(tmp_path / "m", data)
        BENCHMARKS[benchmark].check([item])
        assert all(isinstance(one, bytes) for one in item.inputs)


def test_splits_are_told_apart_in_both_layouts_of_the_hub(tmp_path: Path) -> None:
    for number, layout in enumerate(("{subject}/{split}-00000-of-00001.parquet", "{subject}/{split}/0000.parquet")):
        data = tmp_path / str(number)
        for split in ("dev", "validation"):
            for subject in ("Art", "Art_Theory"):
                row = MMMU | {"id": f"{split}_{subject}_1"}
                table(data / layout.format(subject=subject, split=split), row, OPEN | {"id": f"{split}_{subject}_2"})
        assert [one.key for one in read_mmmu(data / "validation")] == ["validation_Art_1", "validation_Art_Theory_1"]
        assert [one.key for one in read_mmmu(data / "Art" / "dev")] == ["dev_Art_1"]
        with pytest.raises(UserError, match="has the splits dev, validation\n.*name one: --data .*dev"):
            read_mmmu(data)
        with pytest.raises(UserError, match="there is no folder .*/val, nor a split val in"):
            read_mmmu(data / "val")


def test_a_download_that_lacks_files_is_refused(tmp_path: Path) -> None:
    file = table(tmp_path / "data" / "train-00000-of-00002.parquet", OMNI)
    for data in (tmp_path, file.parent, tmp_path / "train"):
        with pytest.raises(UserError, match="data has 1 of the 2 files of train\n.*download the others"):
            list(rows(data))
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(UserError, match=r"00002\.parquet cannot be read.*\n.*pointer of Git LFS: .* `git lfs pull`"):
        list(rows(file))
    with pytest.raises(UserError, match="there is no folder .*nowhere"):
        list(rows(tmp_path / "nowhere"))


def test_a_test_split_is_named_as_one(tmp_path: Path) -> None:
    table(tmp_path / "Art" / "test-00000-of-00001.parquet", MMMU | {"answer": "?"})
    with pytest.raises(UserError, match="no question with an answer\n.*test splits are published without answers"):
        read_mmmu(tmp_path)
    (tmp_path / "test.tsv").write_text("index\tquestion\tA\tB\tcategory\timage\n1\tq\tx\ty\tc\t\n")
    with pytest.raises(UserError, match="has no column answer\n.*test splits are published without answers"):
        read_mmbench(tmp_path / "test.tsv")
    (tmp_path / "dev.tsv").write_text("index\tquestion\tA\tB\tanswer\tcategory\n1\tq\tx\ty\tE\tc\n")
    with pytest.raises(UserError, match=r"dev\.tsv, line 2: the answer of question 1 is 'E'"):
        read_mmbench(tmp_path / "dev.tsv")


ASKED = ("validation_Art_1", "validation_Art_3")


@pytest.mark.parametrize(
    "content",
    [
        {"validation_Art_1": "B", "validation_Art_2": 7, "validation_Art_3": "A"},  # an open question has a number
        [
            {"id": "validation_Art_1", "question_type": "multiple-choice", "answer": "A", "response": "B"},
            {"id": "validation_Art_2", "question_type": "open", "answer": "3", "response": ["3"]},
            {"id": "validation_Art_3", "question_type": "multiple-choice", "answer": "B", "response": "A"},
        ],
    ],
)
def test_answers_in_the_official_forms_are_read_and_never_the_solutions(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "output.json"
    path.write_text("\ufeff" + json.dumps(content, indent=4), encoding="utf-8")
    assert read_answers(path, ASKED) == {"validation_Art_1": "B", "validation_Art_3": "A"}


def test_answers_to_other_questions_are_told_before_a_report_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dev.tsv").write_text("index\tquestion\tA\tB\tanswer\tcategory\n1\tq\tx\ty\tA\tc\n")
    (tmp_path / "said.json").write_text('{"validation_Art_1": "A"}')
    words = ["evaluate", "mmbench", "--data", tmp_path / "dev.tsv", "--out", tmp_path / "out", "--answers"]
    assert main([*map(str, words), str(tmp_path / "said.json")]) == 2
    assert "has no answer to any of the 1 questions; the first would be 1" in capsys.readouterr().err
    (tmp_path / "said.xlsx").write_bytes(b"PK")
    assert main([*map(str, words), str(tmp_path / "said.xlsx")]) == 2
    assert "said.xlsx is a table" in capsys.readouterr().err
    assert not (tmp_path / "out" / "report.md").exists()


def test_inputs_are_held_as_files_until_they_are_drawn_and_a_broken_one_is_named_before(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All pictures of GEdit-Bench, decoded, are some gigabytes."""
    table(tmp_path / "data" / "rows.parquet", OMNI | {"input_images": [png()]})
    words = ["evaluate", "omnicontext", "--data", tmp_path / "data", "--images", tmp_path / "m", "--model", model]
    words += ["--steps", "1", "--height", "32", "--width", "32", "--judge_model", "m", "--judge"]
    held: list[object] = []

    def draws(settings: Any, jobs: Sequence[Job], chosen: Any) -> None:
        held.extend(one for job in jobs for one in job.request.images)
        draw(settings, jobs, chosen)

    monkeypatch.setattr("omnigen2.commands.evaluate.draw", draws)
    with loopback(lambda asked: Answer(body=chat_answer('{"score": [8]}'))) as server:
        assert main([*map(str, words), server.url, "--out", str(tmp_path / "out")]) == 0
    assert [type(one) for one in held] == [bytes]
    (drawn,) = tmp_path.rglob("k.png")
    assert read_parameters(drawn)["images"] == ["<16x16>"]
    drawn.unlink()
    table(tmp_path / "data" / "rows.parquet", OMNI | {"input_images": [png(), {"bytes": b"\x89PNG", "path": "x.png"}]})
    assert main([*map(str, words), "http://127.0.0.1:9"]) == 2
    assert "rows.parquet, row 1: image file number 2 cannot be read" in capsys.readouterr().err


def test_imgedit_s_file_is_as_good_as_its_folder(tmp_path: Path) -> None:
    (tmp_path / "singleturn" / "animal").mkdir(parents=True)
    write_picture(tmp_path / "singleturn" / "animal" / "1.png")
    (tmp_path / "basic_edit.json").write_text(
        json.dumps({"1": {"id": "animal/1.png", "prompt": "x", "edit_type": "alter"}})
    )
    (item,) = BENCHMARKS["imgedit"].items(tmp_path / "m", tmp_path / "basic_edit.json")
    assert (item.group, item.inputs) == ("adjust", (tmp_path / "singleturn" / "animal" / "1.png",))


def test_verdicts_of_another_system_name_the_same_pictures(tmp_path: Path) -> None:
    lines = [
        r'{"filename":"o\/00000\/samples\/0.png","correct":true}',
        r'{"filename":"D:\\o\\1\\samples\\0.png","correct":false}',
    ]
    (tmp_path / "results.jsonl").write_text("\n".join(lines))
    found = DetectorResults(tmp_path / "results.jsonl", "m").verdicts
    assert found == {"00000/samples/0.png": True, "1/samples/0.png": False}


def gedit(folder: Path, *intersection: Any) -> Path:
    """A data set with this in `Intersection_exist` of its rows, and pictures of a method."""
    row = {"task_type": "ps_human", "instruction": "x", "instruction_language": "en", "input_image": "a.png"}
    rows = [
        {"key": f"k{n}"} | row | ({} if said == "absent" else {"Intersection_exist": said})
        for n, said in enumerate(intersection)
    ]
    folder.mkdir()
    write_picture(folder / "a.png")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for n in range(len(rows)):
        write_picture(folder / "m" / "fullset" / "ps_human" / "en" / f"k{n}.png", n)
    return folder


def test_gedit_s_intersection_stands_beside_the_full_set(tmp_path: Path) -> None:
    benchmark, data = BENCHMARKS["gedit"], gedit(tmp_path / "data", True, False, True)
    items = benchmark.items(data / "m", data)

    class Graded(Fixed):
        def judge(self, items: Any) -> Any:
            names = ("semantic_consistency", "perceptual_quality")
            return [Judgement(0.0, dict.fromkeys(names, 2.0 + int(item.key[1:]))) for item in items]

    result = evaluate(benchmark, items, Graded(), tmp_path / "out", "mine")
    write_report(tmp_path / "out", benchmark, result, items)
    full, subset = benchmark.summaries(result.records)
    assert (full.result.values["O"], full.result.total) == (3.0, 3)  # of 2, 3 and 4
    assert (subset.result.values["SC"], subset.result.total) == (3.0, 2)
    assert "GEdit-Bench, intersection subset" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    written = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [table["title"] for table in written["summaries"]] == [full.title, subset.title]
    assert [one["subsets"] for one in written["records"]] == [["intersection"], [], ["intersection"]]
    loaded = BenchmarkResult.load(tmp_path / "out")
    assert [one.subsets for one in loaded.records] == [("intersection",), (), ("intersection",)]
    again = evaluate(benchmark, items, Fixed(), tmp_path / "out", "mine")
    assert [one.subsets for one in again.records] == [("intersection",), (), ("intersection",)]


def test_gedit_without_the_field_has_one_table_and_half_of_it_is_refused(tmp_path: Path) -> None:
    benchmark = BENCHMARKS["gedit"]
    data = gedit(tmp_path / "none", "absent", "absent")
    result = evaluate(benchmark, benchmark.items(data / "m", data), Fixed(), tmp_path / "out", "mine")
    assert [table.title for table in benchmark.summaries(result.records)] == ["GEdit-Bench"]
    for number, said in enumerate([(True, "absent"), (None, False), ("true", "false"), (1, 0)]):
        data = gedit(tmp_path / str(number), *said)
        with pytest.raises(UserError, match=r"rows\.jsonl, line [12].*Intersection_exist"):
            benchmark.items(data / "m", data)
