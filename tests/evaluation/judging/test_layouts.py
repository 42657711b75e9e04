"""Published layouts: data sets, pictures of methods, and verdicts that others have given."""

import json
from pathlib import Path
from typing import Any

import pytest

from omnigen2.commands.benchmarks import BENCHMARKS, find_benchmark
from omnigen2.evaluation import evaluate
from omnigen2.evaluation.judging import DetectorResults, ImgEditAnswers
from omnigen2.evaluation.metrics import SUBTASKS
from omnigen2.evaluation.report import report_text
from tests.evaluation.cases import OMNI, items_of, write_picture


def test_omnicontext_is_read(folders: tuple[Path, Path]) -> None:
    items = items_of(folders)
    assert [item.group for item in items] == list(SUBTASKS)
    assert all(item.output.is_file() and item.inputs == (folders[1] / "input.png",) for item in items)
    assert OMNI.items(folders[0].parent, folders[1]) == items
    assert OMNI.items(folders[0] / "fullset", folders[1]) == items


def test_gedit_is_read(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png")
    rows = [
        {"key": 1, "task_type": "ps_human", "instruction": "x", "instruction_language": lang, "input_image": "a.png"}
        for lang in ("en", "cn")
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_picture(tmp_path / "m" / "fullset" / "ps_human" / "cn" / "1.png")
    items = BENCHMARKS["gedit"].items(tmp_path / "m", tmp_path)
    assert [(item.language, item.output.is_file()) for item in items] == [("en", False), ("cn", True)]


GRADED = "Brief reasoning: 2 shells remain: smooth.\nPrompt Compliance: 1\nVisual Seamlessness: 4\nDetail Fidelity: 5"


def test_imgedit_and_its_judge_s_answers_are_read(tmp_path: Path) -> None:
    rows = {
        "1082": {"id": "animal/1.png", "prompt": "Smooth the shell.", "edit_type": "alter"},
        "673": {"id": "animal/1.png", "prompt": "As a woodcut.", "edit_type": "style"},
        "9": {"id": "animal/1.png", "prompt": "As a sketch.", "edit_type": "style"},
        "10": {"id": "animal/1.png", "prompt": "Add a cat.", "edit_type": "add"},
    }
    data, images = tmp_path / "data", tmp_path / "mine"
    write_picture(data / "Benchmark" / "animal" / "1.png")
    (data / "basic_edit.json").write_text(json.dumps(rows))
    for number, key in enumerate(rows):
        write_picture(images / f"{key}.png", number)
    benchmark = BENCHMARKS["imgedit"]
    items = benchmark.items(images, data)
    assert [(item.key, item.group) for item in items][:2] == [("1082", "adjust"), ("673", "style")]
    assert items[0].inputs == (data / "Benchmark" / "animal" / "1.png",)
    assert BENCHMARKS["imgedit-sc-pq"].items(images, data) == items
    answers = {"1082": GRADED, "673": GRADED.replace("5", "6"), "9": {"error": "no reply"}}
    (images / "result.json").write_text(json.dumps(answers))
    result = evaluate(benchmark, items, ImgEditAnswers(images / "result.json", "gpt-4o"), tmp_path / "out", "x")
    assert result.records[0].scores["score"] == pytest.approx(10 / 3)
    problems = [record.problem for record in result.records[1:]]
    assert [str(problem).partition(":")[0] for problem in problems] == [
        "no three grades from 1 to 5",
        "no answer in the file",
        "no answer in the file",
    ]
    line = benchmark.summaries(result.records)[0].result
    assert (line.valid, line.total, line.present) == (1, 4, 1)
    assert "| overall | 3.33 | 1 / 4, 1 of 9 subtasks | 3.44 | 3.69 |" in report_text(
        benchmark, result, benchmark.summaries(result.records)
    )
    (data / "basic_edit.json").unlink()
    with pytest.raises(ValueError, match="basic_edit.json"):
        benchmark.items(images, data)


def test_geneval_and_its_verdicts_are_read(tmp_path: Path) -> None:
    for number, tag in enumerate(["colors", "counting"]):
        folder = tmp_path / f"{number:05d}"
        write_picture(folder / "samples" / "0000.png", number)
        (folder / "metadata.jsonl").write_text(json.dumps({"tag": tag, "prompt": "p", "include": []}))
    write_picture(tmp_path / "00000" / "samples" / "0001.png", 9)
    verdicts = tmp_path / "results.jsonl"
    lines = [{"filename": f"/x/00000/samples/000{k}.png", "correct": k == 0, "reason": "r"} for k in range(2)]
    verdicts.write_text("\n".join(map(json.dumps, lines)))
    benchmark = BENCHMARKS["geneval"]
    items = benchmark.items(tmp_path, None)
    assert [item.key for item in items] == [
        "00000/samples/0000.png",
        "00000/samples/0001.png",
        "00001/samples/0000.png",
    ]
    result = evaluate(benchmark, items, DetectorResults(verdicts, "m2f"), tmp_path / "out", "x")
    summary = benchmark.summaries(result.records)[0]
    assert summary["colors"].values["correct"] == 0.5
    assert (summary.result.valid, summary.result.total) == (2, 3)
    verdicts.write_text('{"filename": "a"}')
    with pytest.raises(ValueError, match="line 1 has no filename and correct"):
        DetectorResults(verdicts, "m2f")


def test_parquet_data_sets_are_read_and_splits_named_behind_the_folder(folders: tuple[Path, Path]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    images, data = folders
    picture = {"bytes": (data / "input.png").read_bytes(), "path": None}
    rows = [json.loads(line) for line in (data / "data.jsonl").read_text().splitlines()[:8]]
    table = pyarrow.Table.from_pylist([{**row, "input_images": [picture]} for row in rows])
    (data / "data.jsonl").unlink()
    (data / "data").mkdir()
    parquet.write_table(table, data / "data" / "train-00000.parquet")
    items = OMNI.items(images, data)
    assert [item.key for item in items] == [row["key"] for row in rows]
    assert items[0].inputs == (picture["bytes"],)
    (data / "data" / "train-00000.parquet").unlink()
    for row, split in zip(rows, ("test", "validation"), strict=False):
        parquet.write_table(pyarrow.Table.from_pylist([row]), data / "data" / f"{split}-00000-of-00001.parquet")
    assert [item.key for item in OMNI.items(images, data / "validation")] == ["k1"]
    with pytest.raises(ValueError, match="has the splits test, validation"):
        OMNI.items(images, data)
    with pytest.raises(ValueError, match="nor a split dev"):
        OMNI.items(images, data / "dev")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task_type": None}, "line 1: task_type is None"),
        ({"key": "../k0"}, r"the key '\.\./k0' is no file name"),
        ({"input_images": ["gone.png"]}, "there is no picture 'gone.png'"),
        (
            {"key": "k1", "task_type": "single_object"},
            "line 2: the item 'single_object/en/k1' comes again, first at .*line 1",
        ),
    ],
)
def test_wrong_rows_are_refused(folders: tuple[Path, Path], change: dict[str, Any], message: str) -> None:
    path = folders[1] / "data.jsonl"
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps({**json.loads(first), **change}), *others]))
    with pytest.raises(ValueError, match=message):
        items_of(folders)


def test_missing_folders_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no folder"):
        OMNI.items(tmp_path / "none", folders[1])
    with pytest.raises(ValueError, match="needs --data"):
        OMNI.items(folders[0], None)
    write_picture(tmp_path / "results" / "other" / "fullset" / "x.png")
    with pytest.raises(ValueError, match="of methods with one: mine, other"):
        OMNI.items(folders[0].parent, folders[1])
    with pytest.raises(ValueError, match="holds neither"):
        OMNI.items(folders[0], folders[0])
    with pytest.raises(ValueError, match="no benchmark 'omni'"):
        find_benchmark("omni")
    with pytest.raises(ValueError, match="metadata"):
        BENCHMARKS["geneval"].items(tmp_path, None)
