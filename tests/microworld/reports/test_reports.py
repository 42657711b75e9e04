"""The reports of the micro-world say what the numbers say."""

import json
import random
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnigen2.microworld.reports import Ablation, MicroCurriculum
from omnigen2.microworld.reports.ablation import COLUMNS
from omnigen2.microworld.reports.findings import CLAIMS, Difference, findings
from omnigen2.runner.keep import read_metrics
from omnigen2.runner.plan import Row, RunResult
from tests.runner.results import finished

SHARES = {
    "base": (0.3, 0.3, 0.3), "edit": (0.3, 0.5, 0.3), "geneval": (0.5, 0.3, 0.3), "ocr": (0.2, 0.2, 0.2),
    "edit_geneval": (0.6, 0.6, 0.3), "edit_preference": (0.1, 0.2, 0.1), "edit_geneval_incontext": (0.6, 0.6, 0.6),
    "geneval_edit_incontext": (0.6, 0.6, 0.6), "edit_incontext_geneval": (0.2, 0.2, 0.2),
    "incontext": (0.3, 0.3, 0.1),
}  # fmt: skip
"""Of GenEval, edits and in-context tasks without a fault."""
COLUMN_NAMES = ("GenEval", "edit exact", "in-context exact")


def cell(folder: Path, row: str, seed: int, tasks: int) -> RunResult:
    """A finished run: what it left of an evaluation, and rewards that rise."""
    own = folder / row / f"seed_{seed}"
    own.mkdir(parents=True)
    exact: dict[str, list[int]] = {}
    for title, value in zip(COLUMN_NAMES, SHARES[row], strict=True):
        levels = random.Random(title)  # how hard the tasks are: a better model does what a worse one does, and more
        luck = random.Random(f"{row} {seed}")
        exact[title] = [int(levels.random() + luck.uniform(-0.1, 0.1) < value) for _ in range(tasks)]
    content = {
        "model": {COLUMNS[title]: fmean(done) for title, done in exact.items()},
        "exact": {COLUMNS[title].split("/")[0]: done for title, done in exact.items()},
    }
    (own / "scores.json").write_text(json.dumps(content))
    lines = ["step,epoch,reward/mean", *(f"{n},0,{0.1 * n + 0.01 * seed}" for n in range(8))]
    (own / "metrics.csv").write_text("\n".join(lines) + "\n")
    return RunResult(row, None, own, read_metrics(own), {"seconds": 6.0})


@pytest.mark.parametrize(("tasks", "seeds", "decided"), [(1000, (0, 1), True), (5, (0, 1), False), (1000, (0,), False)])
def test_the_ablation_says_what_the_numbers_say(
    tasks: int, seeds: tuple[int, ...], decided: bool, tmp_path: Path
) -> None:
    cells = {(row, seed): [cell(tmp_path, row, seed, tasks)] for row in SHARES for seed in seeds}
    rows = tuple(Row(name, name, {"paper": {"GenEval": 0.9}} if name == "base" else {}) for name in SHARES)
    Ablation().write(*finished(tmp_path, cells, rows, "rl"))
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["tasks"]["edit exact"] == tasks
    assert found["rows"]["base"]["scores"][0]["GenEval"] == pytest.approx(0.3, abs=0.4)
    # so few tasks, and a single seed, say nothing
    appears = [True, True, True, True, None] if decided else [None] * 5
    assert [one["appears"] for one in found["findings"]] == appears
    text = (tmp_path / "report.md").read_text()
    assert "GenEval (paper)" in text
    assert all(claim.text in text for claim in CLAIMS)
    assert (tmp_path / "rewards.png").is_file()


@given(st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 5).map(lambda n: n + 0.1))
def test_the_sign_of_a_finding_is_that_of_its_clear_differences(first: int, second: int, spread: float) -> None:
    """Two seeds around each mean, and tasks without any chance, of the rows with the letters' reward and without."""
    letters = {"ocr": (-first, -first), "edit_ocr": (-second - spread, spread - second)}
    values = {"base": (0, 0), "edit": (0, 0), **letters}
    scores = {row: [dict.fromkeys(COLUMN_NAMES, float(value)) for value in seeds] for row, seeds in values.items()}
    exact = {row: [dict.fromkeys(COLUMN_NAMES, [0, 0])] * 2 for row in values}
    (found,) = findings(scores, {}, exact)
    signs = [Difference(first, 0.0).sign, Difference(second, spread).sign]  # the error of two seeds is their spread
    assert [one.sign for one in found.differences.values()] == signs
    assert found.appears is (False if -1 in signs else True if 1 in signs and min(first, second) >= 0 else None)


def test_the_curriculum_has_the_scores_and_pictures_of_its_stages(tmp_path: Path) -> None:
    numbers: dict[str, Any] = {name: 0.5 for name in COLUMNS.values()}
    scores = {"step": 1, "model": numbers, "without references": {"omnicontext_exact/overall/exact": 0.1}}
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "scores.json").write_text(json.dumps(scores))
    Image.new("RGB", (4, 4)).save(tmp_path / "one" / "pictures.png")
    summary = {"seconds": 60.0, "steps": 1, "final": {"eval/loss": 0.5}}
    stages = tuple(
        RunResult(name, None, tmp_path / folder, ({"step": 0, "eval/loss": 0.5},), summary)
        for name, folder in (("a", "none"), ("b", "one"), ("c", "one"))
    )
    MicroCurriculum().write(*finished(tmp_path, {("curriculum", None): stages}))
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["scores"] == {"b": scores, "c": scores}
    assert "stages" in found
    text = (tmp_path / "report.md").read_text()
    titles = ("Edits, exact", "In-context tasks, exact, drawn without their references")
    assert all(f"### {title}\n" in text for title in titles)
    assert "prompt following" not in text  # no stage has it
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {"b.png", "c.png"}
    assert (tmp_path / "scores.png").is_file()
