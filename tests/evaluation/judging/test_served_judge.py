"""`omnigen2 evaluate` with a real chat server as the judge: `transformers serve`, with models that say noise or `7`."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnigen2.cli import main
from omnigen2.evaluation.judging import BenchmarkItem, ChatJudge
from omnigen2.microworld import draw, full_vocabulary, sample_context
from omnigen2.microworld.runs import write_micro
from omnigen2.microworld.tasks import CONTEXT_KINDS
from omnigen2.rl import Failure, Outcome
from omnigen2.rl.rewards import JudgeReward
from tests.served_judge import MISSING, transformers_serve, write_terse_judge, write_tiny_judge

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"transformers[serving] lacks {', '.join(MISSING)}")

PICTURES = 4


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with transformers_serve(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng, vocabulary = np.random.default_rng(0), full_vocabulary(32)
    tasks = [sample_context(vocabulary, rng, CONTEXT_KINDS[number]) for number in range(PICTURES)]
    folder = tmp_path_factory.mktemp("pictures") / "mine"
    write_micro(folder, tasks, [draw(task.target, 32) for task in tasks])
    return folder


def call(images: Path, out: Path, url: str, model: Path) -> int:
    judge = ["--judge", url, "--judge-model", str(model), "--judge-image-side", "28", "--judge-max-tokens", "6"]
    return main(["evaluate", "micro-omnicontext", "--images", str(images), "--out", str(out), *judge])


def records(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "result.json").read_text())["records"]


def test_a_judge_that_says_noise_is_refused_and_otherwise_fails_every_picture(
    images: Path, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = write_tiny_judge(tmp_path / "noise"), tmp_path / "out"
    assert call(images, out, url, model) == 2
    assert "gave no grades for a trial picture" in capsys.readouterr().err
    assert not out.exists()
    monkeypatch.setattr(JudgeReward, "probe", lambda reward: None)
    assert call(images, out, url, model) == 0
    assert f"{PICTURES} of {PICTURES} judgements failed" in capsys.readouterr().out
    assert {one["problem"].partition(":")[0] for one in records(out)} <= {"cut off", "unreadable"}
    assert all(one["scores"] == {} for one in records(out))
    assert "| overall | – | – | – | 0 / 4, 0 of 8 subtasks |" in (out / "report.md").read_text()
    assert (out / "gallery" / "index.html").read_text().count("not judged: ") == PICTURES


def test_a_judge_that_grades_is_read_and_goes_on_where_it_was_stopped(
    images: Path, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = write_terse_judge(tmp_path / "terse", "7"), tmp_path / "out"
    whole, judged = ChatJudge.judge, list[int]()

    def two_at_once(self: ChatJudge, items: Sequence[BenchmarkItem]) -> list[Outcome]:
        if len(judged) == 2:
            raise KeyboardInterrupt
        judged.append(len(items))
        return whole(self, items[:2]) + [Failure("not asked")] * len(items[2:])

    monkeypatch.setattr(ChatJudge, "judge", two_at_once)
    assert call(images, out, url, model) == 0
    assert "| overall | 7.00 | 7.00 | 7.00 | 2 / 4, 2 of 8 subtasks |" in capsys.readouterr().out
    assert call(images, out, url, model) == 0
    assert judged == [PICTURES, PICTURES - 2]
    assert call(images, out, url, model) == 0  # nothing is left to be judged: the third call would be stopped
    assert "| overall | 7.00 | 7.00 | 7.00 | 4 / 4, 4 of 8 subtasks |" in capsys.readouterr().out
    assert all(one["scores"]["overall"] == 7 for one in records(out))
