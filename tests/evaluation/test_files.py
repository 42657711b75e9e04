"""Published layouts, result files, the journal, comparison, report and gallery."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnigen2.evaluation.benchmarks import Benchmark
from omnigen2.evaluation.catalog import BENCHMARKS, find_benchmark
from omnigen2.evaluation.compare import compare
from omnigen2.evaluation.judge import Item, Judge, Judgement, JudgeProtocol
from omnigen2.evaluation.omnicontext import SUBTASKS
from omnigen2.evaluation.report import report_text, write_report
from omnigen2.evaluation.results import Journal, Record, Result
from omnigen2.evaluation.runner import NO_PICTURE, Progress, evaluate
from omnigen2.evaluation.verdicts import DetectorResults, ImgEditAnswers

PROTOCOL = JudgeProtocol("test", "fixed", "1")
OMNI = BENCHMARKS["omnicontext"]
SCRIPT = "<script>alert('x')</script> & \"quotes\""


class Fixed(Judge):
    """Gives the scores that it is told, and remembers whom it judged."""

    def __init__(self, scores: tuple[float, float] = (4, 9), broken: Sequence[str] = (), seed: int = 0) -> None:
        self.scores, self.broken, self.asked, self.seed = scores, broken, [], seed

    @property
    def protocol(self) -> JudgeProtocol:
        return replace(PROTOCOL, seed=self.seed)

    def judge(self, items: Sequence[Item]) -> list[Judgement]:
        self.asked += [item.key for item in items]
        first, second = self.scores
        good = Judgement({"prompt_following": first, "subject_consistency": second}, {"judge": SCRIPT})
        bad = Judgement(problem="unreadable: mumble")
        return [bad if item.key in self.broken else good for item in items]


def write_picture(path: Path, colour: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour, 40, 90)).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A data set of eight items, and pictures of a method."""
    data, images = tmp_path / "data", tmp_path / "results" / "mine"
    write_picture(data / "input.png", 200)
    lines = []
    for number, task in enumerate(SUBTASKS):
        row = {"key": f"k{number}", "task_type": task, "instruction": SCRIPT, "input_images": ["input.png"]}
        lines.append(row)
        write_picture(images / "fullset" / task / f"k{number}.png", number)
    lines.append({**lines[0], "key": "zh", "instruction_language": "cn"})
    (data / "data.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return images, data


def items_of(folders: tuple[Path, Path]) -> list[Item]:
    return OMNI.items(*folders)


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
    assert result.records[0].judgement.scores["score"] == pytest.approx(10 / 3)
    problems = [record.judgement.problem for record in result.records[1:]]
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


def test_splits_are_named_behind_the_folder(folders: tuple[Path, Path]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    images, data = folders
    rows = [json.loads(line) for line in (data / "data.jsonl").read_text().splitlines()[:2]]
    (data / "data.jsonl").unlink()
    (data / "Art").mkdir()
    for row, split in zip(rows, ("test", "validation"), strict=True):
        parquet.write_table(pyarrow.Table.from_pylist([row]), data / "Art" / f"{split}-00000-of-00001.parquet")
    assert [item.key for item in OMNI.items(images, data / "validation")] == ["k1"]
    with pytest.raises(ValueError, match="has the splits test, validation"):
        OMNI.items(images, data)
    with pytest.raises(ValueError, match="holds neither"):
        OMNI.items(images, data / "dev")


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


def test_parquet_data_sets_are_read(folders: tuple[Path, Path]) -> None:
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task_type": None}, "line 1: task_type is None"),
        ({"key": "../k0"}, r"the key '\.\./k0' is no file name"),
        ({"input_images": ["gone.png"]}, "there is no picture 'gone.png'"),
        ({"key": "k1", "task_type": "single_object"}, "single_object/en/k1 twice"),
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


def test_what_was_judged_is_not_judged_again(folders: tuple[Path, Path], tmp_path: Path) -> None:
    items = items_of(folders)
    first = Fixed()
    evaluate(OMNI, items[:3], first, tmp_path / "out", "mine")
    second = Fixed()
    steps: list[Progress] = []
    result = evaluate(OMNI, items, second, tmp_path / "out", "mine", 2, steps.append)
    assert second.asked == ["k3", "k4", "k5", "k6", "k7"]
    assert [record.key for record in result.records] == [item.key for item in items]
    assert (steps[0], steps[-1]) == (Progress(3, 8, 3, 0), Progress(8, 8, 3, 0))


def test_an_interruption_keeps_all_finished_batches(folders: tuple[Path, Path], tmp_path: Path) -> None:
    class Stopped(Fixed):
        def judge(self, items: Sequence[Item]) -> list[Judgement]:
            if len(self.asked) >= 4:
                raise KeyboardInterrupt
            return super().judge(items)

    with pytest.raises(KeyboardInterrupt):
        evaluate(OMNI, items_of(folders), Stopped(), tmp_path / "out", "mine", 2)
    rest = Fixed()
    evaluate(OMNI, items_of(folders), rest, tmp_path / "out", "mine", 2)
    assert rest.asked == ["k4", "k5", "k6", "k7"]


def test_other_contents_or_protocols_are_judged_again(folders: tuple[Path, Path], tmp_path: Path) -> None:
    items = items_of(folders)
    evaluate(OMNI, items, Fixed(), tmp_path / "out", "mine")
    write_picture(items[5].output, 77)
    again, other = Fixed(), Fixed(seed=1)
    evaluate(OMNI, items, again, tmp_path / "out", "mine")
    evaluate(OMNI, items, other, tmp_path / "out", "mine")
    assert again.asked == ["k5"]
    assert len(other.asked) == 8


def test_failures_are_counted_and_tried_again(folders: tuple[Path, Path], tmp_path: Path) -> None:
    items = items_of(folders)
    items[7].output.unlink()
    result = evaluate(OMNI, items, Fixed(broken=["k0"]), tmp_path / "out", "mine")
    assert result.records[7].judgement.problem == NO_PICTURE
    line = OMNI.summaries(result.records)[0].result
    assert (line.valid, line.total, line.values["overall"]) == (6, 8, 6.0)
    again = Fixed()
    evaluate(OMNI, items, again, tmp_path / "out", "mine")
    assert again.asked == ["k0"]


@pytest.mark.parametrize("scores", [(11.0, 5.0), (5.0, -0.5)])
def test_a_judge_cannot_leave_the_scale(
    folders: tuple[Path, Path], tmp_path: Path, scores: tuple[float, float]
) -> None:
    result = evaluate(OMNI, items_of(folders), Fixed(scores), tmp_path / "out", "mine")
    assert all("expected 0 to 10" in str(record.judgement.problem) for record in result.records)
    assert math.isnan(OMNI.summaries(result.records)[0].result.values["overall"])


def test_a_judge_must_give_every_score() -> None:
    assert OMNI.checked(Judgement({"prompt_following": 3})).problem == "the judge gave no subject_consistency"


@given(cut=st.integers(1, 400))
def test_a_journal_that_was_cut_off_goes_on(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "judgements.jsonl"
    records = [Record("k", "g", "en", f"d{n}", Judgement({"a": 1.0})) for n in range(4)]
    Journal(path).add(records)
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path)
    kept = len(journal)
    assert kept < 4
    journal.add(records[kept:])
    assert len(Journal(path)) == 4


def result_of(records: list[Record], name: str = "a", protocol: JudgeProtocol = PROTOCOL) -> Result:
    return Result("omnicontext", name, protocol, tuple(records))


def record(number: int, score: float, valid: bool = True) -> Record:
    scores = {"prompt_following": score, "subject_consistency": score}
    judgement = Judgement(scores) if valid else Judgement(problem="broken")
    return Record(f"k{number}", SUBTASKS[number % 8], "en", f"d{number}", judgement)


def test_a_result_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    result = result_of([record(0, 3.5), record(1, 0, valid=False)])
    result.save(tmp_path / "result.json")
    assert Result.load(tmp_path) == Result.load(tmp_path / "result.json") == result


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": None}, "does not say how its pictures were judged"),
        ({"protocol": {"model": "x"}}, "expected the fields judge, model"),
        ({"format": 9}, "format 9, expected 1"),
        ({"records": [{"key": "x"}]}, "record 1 is no judgement"),
        ({"records": [record(0, 1).to_json()] * 2}, "an item twice"),
        ({"records": [{**record(0, 1).to_json(), "scores": {"a": "b"}}]}, "score a is 'b'"),
        ({"benchmark": 3}, "no result file"),
    ],
)
def test_result_files_that_mean_nothing_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "result.json"
    result_of([record(0, 1)]).save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        Result.load(path)


def test_a_difference_that_is_always_there_is_clear() -> None:
    one = result_of([record(n, 3 + n % 5) for n in range(40)])
    two = result_of([record(n, 4 + n % 5) for n in range(40)], "b")
    found = compare(one, two, OMNI)
    for difference in found.differences:
        assert difference.low == pytest.approx(difference.high) == pytest.approx(1)
        assert difference.clear
    assert "differs" in found.table()
    assert found.small == ()
    same = compare(one, one, OMNI)
    assert not any(difference.clear for difference in same.differences)


def test_comparing_is_antisymmetric_and_leaves_out_what_failed_in_either() -> None:
    one = result_of([record(n, (7 * n) % 11 % 10) for n in range(24)] + [record(24, 0, valid=False)])
    two = result_of([record(n, (5 * n) % 9) for n in range(1, 25)], "b")
    forth, back = compare(one, two, OMNI), compare(two, one, OMNI)
    assert (forth.pairs, forth.items) == (23, 25)
    for a, b in zip(forth.differences, back.differences, strict=True):
        assert (a.first, a.second) == (b.second, b.first)
        assert a.low == pytest.approx(-b.high)
        assert a.low <= a.second - a.first <= a.high


def test_groups_that_are_too_small_for_intervals_are_named() -> None:
    one, two = (result_of([record(n, shift + n % 5) for n in (*range(18), 18, 20, 26)]) for shift in (1, 2))
    found = compare(one, two, OMNI)
    counts = {task: sum(r.group == task for r in one.records) for task in SUBTASKS}
    assert set(found.small) == {task for task, count in counts.items() if count < 3}
    assert f"{len(found.small)} groups have fewer than 3 pairs" in found.table()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (result_of([record(0, 1)], protocol=replace(PROTOCOL, temperature=1.0)), "temperature: 0.0 and 1.0"),
        (result_of([record(0, 1)], protocol=replace(PROTOCOL, prompt_version="2")), "prompt_version: '1' and '2'"),
        (replace(result_of([record(0, 1)]), benchmark="gedit"), "omnicontext and gedit"),
        (result_of([record(3, 1)]), "no item is valid in both"),
    ],
)
def test_what_cannot_be_compared_is_refused(other: Result, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(result_of([record(0, 1)]), other, OMNI)


class Page(HTMLParser):
    """Collects tags, links and text, and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "link"):
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def report_of(folders: tuple[Path, Path], out: Path, benchmark: Benchmark = OMNI) -> None:
    items = items_of(folders)
    items[6].output.write_bytes(b"no picture at all")
    result = evaluate(benchmark, items, Fixed(broken=["k2", "k6"]), out, "mine")
    write_report(out, benchmark, result, items, "omnigen2 evaluate …")


def test_the_gallery_shows_everything_worst_first_and_nothing_from_elsewhere(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    report_of(folders, tmp_path / "out")
    folder = tmp_path / "out" / "gallery"
    page = Page()
    page.feed((folder / "index.html").read_text(encoding="utf-8"))
    assert page.stack == []
    assert "script" not in page.tags
    assert page.text.count(SCRIPT) == 8 + 6  # instructions and reasons, as text
    assert all(link.startswith("images/") and (folder / link).is_file() for link in page.links)
    assert len(page.links) == 8 + 7
    order = [page.text.index(f"· k{n}") for n in range(8)]
    assert sorted(range(8), key=lambda n: order[n])[:2] == [2, 6]
    assert page.text.count("not judged: unreadable: mumble") == 2
    assert page.text.count("output: no readable picture") == 1


def test_the_report_says_what_failed_and_shows_the_paper(folders: tuple[Path, Path], tmp_path: Path) -> None:
    report_of(folders, tmp_path / "out")
    said = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "2 of 8 judgements failed; the means are over the others." in said
    assert "| overall | 6.00 | 6 / 8, 6 of 8 subtasks | 7.95 |" in said
    assert "| Multiple | 6.00 | 2 / 3, 2 of 3 subtasks | 7.73 |" in said
    assert "| unreadable | 2 |" in said
    assert "| temperature | 0.0 |" in said
    assert (tmp_path / "out" / "scores.png").stat().st_size > 1000
    assert json.loads((tmp_path / "out" / "result.json").read_text())["valid"] == 6


def test_the_printed_subtask_scores_stand_beside_the_paper_s_means() -> None:
    printed = (8.19, 8.63, 7.45, 7.91, 7.93, 7.75, 7.91, 7.93)
    result = result_of([record(number, score) for number, score in enumerate(printed)], "OmniGen2")
    said = report_text(OMNI, result, OMNI.summaries(result.records))
    assert "| Single | 8.41 | 2 / 2 | 8.41 |" in said
    assert "| Multiple | 7.76 | 3 / 3 | 7.73 |" in said
    assert "| Scene | 7.86 | 3 / 3 | 7.86 |" in said
    assert "| overall | 7.96 | 8 / 8 | 7.95 |" in said
