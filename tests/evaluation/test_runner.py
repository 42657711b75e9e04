"""Judging: nothing twice, nothing lost, nothing outside the scale."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from omnigen2.evaluation import EvaluationProgress, evaluate
from omnigen2.evaluation.judging import BenchmarkItem
from omnigen2.evaluation.runner import NO_PICTURE
from omnigen2.rl import Failure, Judgement, Outcome
from tests.evaluation.cases import OMNI, Fixed, items_of, write_picture


def test_what_was_judged_is_not_judged_again(folders: tuple[Path, Path], tmp_path: Path) -> None:
    items = items_of(folders)
    first = Fixed()
    evaluate(OMNI, items[:3], first, tmp_path / "out", "mine")
    second = Fixed()
    steps: list[EvaluationProgress] = []
    result = evaluate(OMNI, items, second, tmp_path / "out", "mine", 2, steps.append)
    assert second.asked == ["k3", "k4", "k5", "k6", "k7"]
    assert [record.key for record in result.records] == [item.key for item in items]
    assert (steps[0], steps[-1]) == (EvaluationProgress(3, 8, 3, 0), EvaluationProgress(8, 8, 3, 0))


def test_an_interruption_keeps_all_finished_batches(folders: tuple[Path, Path], tmp_path: Path) -> None:
    class Stopped(Fixed):
        def judge(self, items: Sequence[BenchmarkItem]) -> list[Outcome]:
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
    assert result.records[7].problem == NO_PICTURE
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
    assert all("expected 0 to 10" in str(record.problem) for record in result.records)
    assert math.isnan(OMNI.summaries(result.records)[0].result.values["overall"])


def test_a_judge_must_give_every_score() -> None:
    checked = OMNI.checked(Judgement(3, {"prompt_following": 3}))
    assert checked == Failure("the judge gave no subject_consistency")
    assert OMNI.checked(checked) == checked
