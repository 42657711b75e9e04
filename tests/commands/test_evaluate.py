"""`omnigen2 evaluate` as a user calls it, with a chat server on loopback that also fails."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnigen2.cli import main
from omnigen2.generate.tiny import make_tiny
from omnigen2.microworld import draw, full_vocabulary, sample_caption, sample_context, sample_edit
from omnigen2.microworld.runs.folder import write_micro
from omnigen2.microworld.tasks import CONTEXT_KINDS
from omnigen2.microworld.tasks.caption import Caption
from tests.evaluation.cases import write_picture
from tests.rl.loopback import Answer, Asked, chat_answer, loopback

PICTURES = 20


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty in-context pictures and some others."""
    rng, vocabulary = np.random.default_rng(0), full_vocabulary(32)
    tasks: list[Any] = [sample_context(vocabulary, rng, CONTEXT_KINDS[n % 8]) for n in range(PICTURES)]
    tasks += [sample_caption(vocabulary, rng) for _ in range(3)] + [sample_edit(vocabulary, rng) for _ in range(3)]
    folder = tmp_path_factory.mktemp("pictures") / "mine"
    write_micro(folder, tasks, [draw(t.scene if isinstance(t, Caption) else t.target, 32) for t in tasks])
    return folder


def grade(asked: Asked) -> Answer:
    """Grades for whichever rubric is asked: one up to 10, or two up to 25."""
    two = "from 0 to 25" in asked.body["messages"][0]["content"]
    return Answer(body=chat_answer(json.dumps({"reasoning": "<b>fine</b>", "score": [20, 15] if two else [8]})))


def call(images: Path, out: Path, *more: str, bench: str = "micro-omnicontext") -> int:
    return main(["evaluate", bench, "--images", str(images), "--out", str(out), *more])


def test_twenty_pictures_give_a_report_and_a_gallery_and_are_not_judged_twice(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with loopback(grade) as server:
        judge = ["--judge", f"{server.url}/v1", "--judge_model", "tiny", "--judge-image-side", "16"]
        assert call(images, tmp_path / "a", *judge) == 0
        assert len(server.asked) == 1 + 2 * PICTURES  # a trial, and two rubrics each
        assert call(images, tmp_path / "a", *judge) == 0
        assert len(server.asked) == 2 + 2 * PICTURES
        assert call(images, tmp_path / "e", *judge, bench="micro-edit") == 0
    said = capsys.readouterr().out
    assert "| overall | 8.00 | 8.00 | 8.00 | 20 / 20 |" in said
    assert "| overall | 6.00 | 6.00 | 6.00 | 3 / 3, " in said
    page = (tmp_path / "a" / "gallery" / "index.html").read_text(encoding="utf-8")
    assert page.count("&lt;b&gt;fine&lt;/b&gt; | &lt;b&gt;fine&lt;/b&gt;") == PICTURES
    protocol = json.loads((tmp_path / "a" / "result.json").read_text())["protocol"]
    assert (protocol["model"], protocol["image_size"], protocol["passes"]) == ("tiny", 16, 1)
    assert protocol["prompt_version"].startswith("context_following-")
    assert server.url not in (tmp_path / "a" / "result.json").read_text()


def test_stopping_half_way_and_going_on_judges_only_the_rest(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from omnigen2.evaluation.judging.chat_judge import ChatJudge

    whole, batches = ChatJudge.judge, iter(range(100))

    def stop(self: ChatJudge, items: Any) -> Any:
        if next(batches) == 2:
            raise KeyboardInterrupt
        return whole(self, items)

    with loopback(grade) as server:
        judge = ["--judge", server.url, "--judge_model", "tiny", "--batch_size", "5"]
        monkeypatch.setattr(ChatJudge, "judge", stop)
        assert call(images, tmp_path, *judge) == 130
        assert "what is finished is kept" in capsys.readouterr().err
        assert len(server.asked) == 1 + 2 * 10
        monkeypatch.setattr(ChatJudge, "judge", whole)
        assert call(images, tmp_path, *judge) == 0
        assert len(server.asked) == 2 + 2 * PICTURES


def test_faults_of_the_server_are_counted_and_never_scored(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def act(asked: Asked) -> Answer:
        number = len(server.asked)
        if number == 1:
            return grade(asked)
        texts = ["mumble", '{"score": [12]}', '{"score": [-1]}', "", '{"score": "8"}']
        kinds = [Answer(body=chat_answer(text)) for text in texts]
        kinds += [Answer(fault="truncate", body={"a": "b" * 200}), Answer(fault="drop"), Answer(status=500)]
        kinds += [Answer(body=b"<html>"), Answer(status=400), *[grade(asked)] * 10]
        return kinds[number % len(kinds)]

    with loopback(act) as server:
        judge = ["--judge", server.url, "--judge_model", "tiny", "--judge_concurrency", "2"]
        assert call(images, tmp_path, *judge) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    good = [one for one in result["records"] if one["problem"] is None]
    assert 0 < len(good) < PICTURES
    assert all(one["scores"]["overall"] == 8 for one in good)
    assert all(one["scores"] == {} for one in result["records"] if one["problem"] is not None)
    assert f"{PICTURES - len(good)} of 20 judgements failed" in capsys.readouterr().out
    with loopback(grade) as server:
        assert call(images, tmp_path, "--judge", server.url, "--judge_model", "tiny") == 0
        assert len(server.asked) == 1 + 2 * (PICTURES - len(good))


def test_rules_judge_offline_and_results_compare(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for bench in ("micro-omnicontext", "micro-geneval", "micro-edit"):
        assert call(images, tmp_path / bench, "--judge", "rules", bench=bench) == 0
    assert "| overall | 10.00 | 10.00 | 10.00 | 20 / 20 |" in capsys.readouterr().out
    assert call(images, tmp_path / "mild", "--judge", "rules", "--tolerance", "0.4") == 0
    capsys.readouterr()
    first = str(tmp_path / "micro-omnicontext")
    assert main(["evaluate", "compare", first, first]) == 0
    assert "| overall | 10.000 |" not in capsys.readouterr().err
    assert main(["evaluate", "compare", first, str(tmp_path / "mild")]) == 2
    assert "judged differently (settings: {'tolerance': 0.2}" in capsys.readouterr().err
    assert main(["evaluate", "compare", first, str(tmp_path / "none")]) == 2
    assert "there is no result file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("bench", "more", "message"),
    [
        ("micro-omnicontext", ["--judge", "http://127.0.0.1:9"], "--judge_model is missing"),
        ("micro-omnicontext", ["--judge", "rulez", "--judge_model", "x"], "--judge is 'rulez'"),
        (
            "micro-omnicontext",
            ["--judge", "rules", "--judge", "http://x"],
            "only several servers of one model go together",
        ),
        ("micro-omnicontext", ["--judge", "rules", "--batch_size", "0"], "--batch_size must be at least 1"),
        ("micro-geneval", ["--judge", "http://127.0.0.1:9", "--judge_model", "x"], "no chat model judges"),
        ("omnicontext", ["--judge", "rules"], "needs --data"),
        ("omnicontex", ["--judge", "rules"], "no benchmark 'omnicontex'"),
        ("micro-omnicontext", [], "--judge is missing"),
        ("emu-edit", ["--clip", "x"], "needs --data"),
        ("mmmu", ["--data", "x"], "needs --data, and either --answers or --model"),
        ("imgedit", ["--judge", "rules"], "needs --data"),
    ],
)
def test_wrong_options_are_told_in_two_lines(
    images: Path, tmp_path: Path, bench: str, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(images, tmp_path, *more, bench=bench) == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 2


def test_the_model_draws_what_is_missing_and_the_rules_judge_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = make_tiny(tmp_path / "tiny")
    rng, vocabulary = np.random.default_rng(1), full_vocabulary(32)
    tasks = [sample_edit(vocabulary, rng) for _ in range(2)]
    write_micro(tmp_path / "data", tasks, [draw(task.target, 32) for task in tasks])
    (tmp_path / "data" / "00001.png").unlink()
    options = ["--data", str(tmp_path / "data"), "--model", str(model), "--judge", "rules", "--seed", "3"]
    options += ["--steps", "1", "--height", "32", "--width", "32"]
    assert call(tmp_path / "drawn", tmp_path / "out", *options, bench="micro-edit") == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["00000.png", "00001.png"]
    assert "| 2 / 2, " in capsys.readouterr().out
    before = (tmp_path / "drawn" / "00000.png").stat().st_mtime_ns
    (tmp_path / "drawn" / "00001.png").unlink()
    assert call(tmp_path / "drawn", tmp_path / "out", *options, bench="micro-edit") == 0
    assert (tmp_path / "drawn" / "00000.png").stat().st_mtime_ns == before  # only what is missing is drawn
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["valid"], result["total"]) == (2, 2)


def test_a_server_that_is_not_there_stops_before_anything_is_judged(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with loopback(lambda asked: Answer(status=404)) as server:
        assert call(images, tmp_path, "--judge", server.url, "--judge_model", "tiny") == 2
    assert "gave no grades for a trial picture" in capsys.readouterr().err
    assert not (tmp_path / "judgements.jsonl").exists()


@pytest.fixture
def edits(tmp_path: Path) -> Path:
    """Two edits without pictures."""
    rng, vocabulary = np.random.default_rng(1), full_vocabulary(32)
    tasks = [sample_edit(vocabulary, rng) for _ in range(2)]
    write_micro(tmp_path / "data", tasks, [draw(task.target, 32) for task in tasks])
    for number in range(2):
        (tmp_path / "data" / f"0000{number}.png").unlink()
    return tmp_path / "data"


DRAW = ("--judge", "rules", "--steps", "1", "--height", "32", "--width", "32", "--seed", "3")


def test_how_the_pictures_were_drawn_stands_in_the_result(
    edits: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from omnigen2.adapters import LoRA, add_lora, save_lora
    from omnigen2.generate import Generator

    trained = Generator.from_folder(model).transformer
    add_lora(trained, LoRA(rank=2))
    save_lora(trained, tmp_path / "style")
    options = ["--data", str(edits), "--model", str(model), *DRAW]
    options += ["--time_shift", "3.0", "--lora", f"{tmp_path / 'style'}:0.7"]
    assert call(tmp_path / "drawn", tmp_path / "out", *options, bench="micro-edit") == 0
    (way,) = json.loads((tmp_path / "out" / "result.json").read_text())["drawn"]
    assert way["pictures"] == 2
    assert (way["settings"]["time_shift"], way["settings"]["adapters"]) == (3.0, ["style:0.7"])
    assert (way["settings"]["model"], way["settings"]["steps"]) == (model.name, 1)
    assert not {"prompt", "seed", "images"} & set(way["settings"])
    capsys.readouterr()
    (tmp_path / "drawn" / "00001.png").unlink()
    options[options.index("3.0")] = "2.0"
    assert call(tmp_path / "drawn", tmp_path / "out", *options, bench="micro-edit") == 0
    assert "note: the pictures were drawn in 2 ways" in capsys.readouterr().err
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "though they were drawn in 2 ways" in report
    assert "| time_shift | 3.0 | 2.0 |" in report or "| time_shift | 2.0 | 3.0 |" in report


def test_pictures_of_other_programs_do_not_say_how_they_were_drawn(images: Path, tmp_path: Path) -> None:
    assert call(images, tmp_path, "--judge", "rules") == 0
    assert json.loads((tmp_path / "result.json").read_text())["drawn"] == [{"settings": {}, "pictures": PICTURES}]
    assert "The files of the pictures do not say." in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("fault", ["truncated", "too many"])
def test_what_cannot_be_drawn_is_told_before_the_first_drawing(
    fault: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, images = tmp_path / "data", tmp_path / "results" / "mine"
    write_picture(data / "in.png")
    inputs = {"truncated": ["in.png", "bad.png"], "too many": ["in.png"] * 6}[fault]
    (data / "bad.png").write_bytes((data / "in.png").read_bytes()[:45])
    row = {"task_type": "single_object", "instruction": "x", "input_images": ["in.png"]}
    rows = [{**row, "key": f"k{n}"} for n in range(3)]
    rows[2]["input_images"] = inputs
    (data / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    monkeypatch.setattr("omnigen2.commands.drawing.load_generator", lambda *_: pytest.fail("loaded"))
    options = ["--data", str(data), "--model", str(model), "--judge", "http://127.0.0.1:9", "--judge_model", "m"]
    assert call(images, tmp_path / "out", *options, *DRAW[2:], bench="omnicontext") == 2
    said = capsys.readouterr().err
    assert "rows.jsonl, line 3: " in said
    assert ("bad.png" if fault == "truncated" else "at most 5") in said
    assert not list(images.rglob("*.png"))


def test_an_adapter_without_a_model_is_refused(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(images, tmp_path, "--judge", "rules", "--lora", "style") == 2
    assert "--lora goes with a --model" in capsys.readouterr().err


def test_missing_tasks_point_to_the_command_that_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, tmp_path / "out", "--judge", "rules", bench="micro-edit") == 2
    assert f"`omnigen2 microworld tasks {tmp_path}`" in capsys.readouterr().err
    assert main(["microworld", "tasks", str(tmp_path), "--count", "2", "--size", "16"]) == 0
    assert call(tmp_path, tmp_path / "out", "--judge", "rules", bench="micro-edit") == 0
    (tmp_path / "tasks.jsonl").write_text(json.dumps({"key": "00000", "task": '{"task": ["caption"], "value": 1}'}))
    assert call(tmp_path, tmp_path / "out", "--judge", "rules", bench="micro-edit") == 2
    assert "tasks.jsonl, line 1: " in capsys.readouterr().err


def test_the_gallery_frames_what_is_right_and_says_what_is_missing_in_words(tmp_path: Path) -> None:
    vocabulary = full_vocabulary(32)
    tasks = [sample_caption(vocabulary, np.random.default_rng(n)) for n in (5, 6)]
    write_micro(tmp_path / "mine", tasks, [draw(tasks[0].scene, 32), draw(tasks[0].scene, 32)])
    assert call(tmp_path / "mine", tmp_path / "out", "--judge", "rules", bench="micro-geneval") == 0
    page = (tmp_path / "out" / "gallery" / "index.html").read_text(encoding="utf-8")
    wrong, right = page.split("<article>")[1:]
    assert ('class="output right"' in right, 'class="output right"' in wrong) == (True, False)
    assert "<td>overall</td>" in page.partition("<article>")[0]
    unmet = wrong.partition("<b>unmet:</b>")[2].partition("</p>")[0]
    assert unmet.strip()
    assert ":" not in unmet
