"""`--best_of` on the command line, with rules, recipes, and a chat server that also fails."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from omnigen2.cli import main
from omnigen2.generate import Generator, read_parameters
from omnigen2.microworld import draw, full_vocabulary, sample_caption, sample_edit
from omnigen2.microworld.runs.folder import write_micro
from omnigen2.microworld.tasks import to_json
from tests.commands.conftest import Shell
from tests.rl.loopback import Answer, Asked, chat_answer, loopback

SQUARE = ("--height", 32, "--width", 32)
REWARD = "reward:\n  class_path: omnigen2.microworld.tasks.MicroPreferenceReward\n"
CHAT = ("--judge_model", "tiny", "--best_of", 3)


def graded(*following: int | None) -> Any:
    """A server that gives these grades of prompt following, one after another after a trial; None is no grade."""
    left = [10, *following]

    def act(asked: Asked) -> Answer:
        words = asked.body["messages"][0]["content"]
        if "whether a generated picture shows" not in words:
            return Answer(body=chat_answer('{"reasoning": "sharp", "score": [25, 25]}'))
        grade = left.pop(0)
        text = "mumble" if grade is None else json.dumps({"reasoning": f"saw {grade}", "score": [grade]})
        return Answer(body=chat_answer(text))

    return act


def test_a_server_chooses_and_the_file_says_how(shell: Shell) -> None:
    words = ("--prompt", "a cube", "--seed", 4, "--batch_size", 3, "--judge_concurrency", 1, "--keep_all")
    with loopback(graded(4, None, 9)) as server:
        said = shell.generate(*words, "--out", "a.png", "--judge", server.url, *CHAT)
    assert said == "wrote a.png (seed 6, the best of 3 with 0.949, 1 judgements failed)\n"
    told = read_parameters("a.png")
    assert (told["seed"], told["best_of"]) == (6, 3)
    assert told["chosen_by"].startswith("tiny: temperature 0.0, ")
    assert told["choice"]["scores"] == [pytest.approx(0.4**0.5), None, pytest.approx(0.9**0.5)]
    assert told["choice"]["said"][0] == "saw 4 | sharp"
    assert told["choice"]["said"][1].startswith("unreadable")
    assert sorted(path.name for path in Path("a.png.candidates").iterdir()) == ["4.png", "5.png"]
    shell.generate("--prompt", "a cube", "--seed", 6, "--out", "b.png")
    assert Image.open("a.png").tobytes() == Image.open("b.png").tobytes()


def test_what_could_not_be_judged_is_kept_and_not_drawn_again(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("lines.jsonl").write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    base = ("generate", "--model", shell.model, "--from_file", "lines.jsonl", "--out", "drawn", "--device", "cpu")
    words = (*base, *SQUARE, "--steps", 1, "--batch_size", 6, "--judge_concurrency", 1)
    with loopback(graded(None, None, None, 1, 2, 3)) as server:
        first, second = shell.refused(*words, "--judge", server.url, *CHAT)
    assert "lines.jsonl, line 1: none of the 3 pictures could be judged by tiny" in first
    assert "drawn/00001.png.candidates" in second
    assert read_parameters("drawn/00002.png")["seed"] == 5  # the seeds of the lines are 0 to 2 and 3 to 5
    monkeypatch.setattr(Generator, "from_folder", None)
    with loopback(graded(5, 5, 1)) as server:
        said = shell(*words, "--judge", server.url, *CHAT)
    assert said.splitlines()[0] == "1 of 2 pictures are there already"
    assert read_parameters("drawn/00001.png")["seed"] == 0  # of equal ones the first
    assert sorted(path.name for path in Path("drawn").iterdir()) == ["00001.png", "00002.png"]
    assert "drawn with best_of 3 in place of 1" in shell.refused(*words)[0]


def test_rules_choose_by_the_task_of_a_line_and_recipes_by_any_reward(shell: Shell) -> None:
    task = sample_caption(full_vocabulary(32), np.random.default_rng(0))
    lines = [{"prompt": task.instruction, "meta": to_json(task)}, {"prompt": "a"}]
    Path("task.jsonl").write_text(json.dumps(lines[0]) + "\n")
    said = shell.generate("--from_file", "task.jsonl", "--out", "rules", "--best_of", 2, "--judge", "rules", *SQUARE)
    assert "the best of 2 with " in said
    told = read_parameters("rules/00001.png")
    assert told["chosen_by"] == "rules: tolerance 0.2"
    assert set(told["choice"]["parts"][0]) == {"graded", "strict"}
    Path("reward.yaml").write_text(REWARD)
    shell.generate("--prompt", "a", "--out", "nice.png", "--best_of", 2, "--judge", "reward.yaml", *SQUARE)
    assert read_parameters("nice.png")["chosen_by"].startswith("MicroPreferenceReward: ")
    Path("both.jsonl").write_text("\n".join(map(json.dumps, lines)))
    both = ("generate", "--model", shell.model, "--from_file", "both.jsonl", "--out", "both", "--device", "cpu")
    refused = shell.refused(*both, *SQUARE, "--best_of", 2, "--judge", "rules")
    assert "both.jsonl, line 2 has no task of the micro-world" in refused[0]
    assert not Path("both").exists()


def test_a_dry_run_counts_all_pictures_and_asks_nobody(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Generator, "from_folder", None)
    words = ("--prompt", "a", "--out", "a.png", "--num_images", 2, "--batch_size", 4, "--dry_run")
    said = shell.generate(*words, "--judge", "http://127.0.0.1:9", *CHAT)
    assert "pictures to draw: 6, batches: 2" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--best_of", 0), "--best_of must be at least 1"),
        (("--best_of", 2), "--best_of needs a --judge"),
        (("--judge", "rules"), "--judge goes with --best_of"),
        (("--keep_all",), "--keep_all goes with --best_of"),
        (("--best_of", 2, "--judge", "rulez"), "no judge 'rulez'"),
        (("--best_of", 2, "--judge", "none.yaml"), "no judge 'none.yaml'"),
        (("--best_of", 2, "--judge", "localhost:8000/v1"), "did you mean http://localhost:8000/v1?"),
        (("--best_of", 2, "--judge", "http://127.0.0.1:9"), "--judge_model is missing"),
        (("--best_of", 2, "--judge", "http://x", "--judge", "rules"), "only several servers of one model"),
        (("--best_of", 2, "--judge", "rules"), "a.png has no task of the micro-world"),
        (("--best_of", 2, "--judge", "rules", "--seed", 2**63 - 1), "seed must be at least 0 and below"),
    ],
)
def test_wrong_options_are_told_before_the_model_is_loaded(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...], message: str
) -> None:
    monkeypatch.setattr(Generator, "from_folder", None)
    base = ("generate", "--model", shell.model, "--prompt", "a", "--out", "a.png", "--device", "cpu")
    assert message in " ".join(shell.refused(*base, *SQUARE, *words))


def test_a_server_that_is_not_there_is_told_before_the_model_is_loaded(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Generator, "from_folder", None)
    base = ("generate", "--model", shell.model, "--prompt", "a", "--out", "a.png", "--device", "cpu", *SQUARE)
    with loopback(lambda asked: Answer(status=404)) as server:
        assert "no grades for a trial picture" in shell.refused(*base, "--judge", server.url, *CHAT)[0]


@pytest.fixture
def edits(tmp_path: Path) -> Path:
    """Three edits without pictures."""
    rng, vocabulary = np.random.default_rng(1), full_vocabulary(32)
    tasks = [sample_edit(vocabulary, rng) for _ in range(3)]
    write_micro(tmp_path / "data", tasks, [draw(task.target, 32) for task in tasks])
    for picture in (tmp_path / "data").glob("*.png"):
        picture.unlink()
    return tmp_path / "data"


def test_an_evaluation_says_best_of_beside_every_number(
    edits: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def evaluate(name: str, *more: str) -> int:
        drawing = ["--data", str(edits), "--model", str(model), "--steps", "1", "--height", "32", "--width", "32"]
        places = ["--images", str(tmp_path / name), "--out", str(tmp_path / f"out_{name}")]
        return main(["evaluate", "micro-edit", *places, *drawing, "--judge", "rules", *more])

    assert evaluate("best", "--best_of", "2", "--choose_by", "rules") == 0
    said = capsys.readouterr().out
    report = (tmp_path / "out_best" / "report.md").read_text(encoding="utf-8")
    titles = [line for line in (said + report).splitlines() if line.startswith(("#", "Micro-world", "Edits"))]
    numbers = [line for line in titles if "How" not in line and "What" not in line and "Command" not in line]
    assert numbers
    assert all("best of 2 by rules" in line for line in numbers)
    assert "The same judge has also chosen the pictures" in report
    assert "best of 2 by rules" in (tmp_path / "out_best" / "gallery" / "index.html").read_text(encoding="utf-8")
    assert not list((tmp_path / "best").glob("*.candidates"))

    (tmp_path / "reward.yaml").write_text(REWARD)
    assert evaluate("other", "--best_of", "2", "--choose_by", str(tmp_path / "reward.yaml")) == 0
    report = (tmp_path / "out_other" / "report.md").read_text(encoding="utf-8")
    assert "best of 2 by MicroPreferenceReward" in report
    assert "The same judge" not in report

    assert evaluate("plain") == 0
    assert (
        "best of" not in (tmp_path / "out_plain" / "report.md").read_text(encoding="utf-8").partition("## Command")[0]
    )
    capsys.readouterr()
    pair = [str(tmp_path / "out_plain"), str(tmp_path / "out_best")]
    assert main(["evaluate", "compare", *pair]) == 2
    assert "chosen differently: not chosen and best of 2 by rules" in capsys.readouterr().err
    assert main(["evaluate", "compare", *pair, "--any_choice"]) == 0
    assert "| best, best of 2 by rules |" in capsys.readouterr().out


def test_pictures_some_of_which_were_chosen_are_told_so(edits: Path, model: Path, tmp_path: Path) -> None:
    words = ["--images", str(tmp_path / "mine"), "--out", str(tmp_path / "out"), "--data", str(edits)]
    words += ["--model", str(model), "--steps", "1", "--height", "32", "--width", "32", "--judge", "rules"]
    assert main(["evaluate", "micro-edit", *words]) == 0
    (tmp_path / "mine" / "00001.png").unlink()
    assert main(["evaluate", "micro-edit", *words, "--best_of", "2", "--choose_by", "rules"]) == 0
    assert "partly best of 2 by rules" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--best_of", "2"], "--best_of goes with a --model that draws"),
        (["--model", "MODEL", "--best_of", "2"], "--best_of and --choose_by go together"),
        (["--model", "MODEL", "--choose_by", "rules"], "--best_of and --choose_by go together"),
        (["--model", "MODEL", "--best_of", "0"], "--best_of must be at least 1"),
        (["--model", "MODEL", "--best_of", "2", "--choose_by", "rulez"], "no judge 'rulez'"),
    ],
)
def test_wrong_options_of_an_evaluation(
    edits: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    told = [str(model) if word == "MODEL" else word for word in words]
    base = ["evaluate", "micro-edit", "--images", str(tmp_path / "mine"), "--data", str(edits), "--judge", "rules"]
    assert main([*base, "--height", "32", "--width", "32", *told]) == 2
    assert message in capsys.readouterr().err
