"""Studies: planned, run in parallel, killed, continued, failing; and what they write."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from omnigen2.cli import main
from omnigen2.files import read_json
from omnigen2.runner.keep.folder import claim
from omnigen2.runner.keep.metrics import read_metrics
from omnigen2.runner.plan import Config, Plan
from tests.runner import forked
from tests.runner.forked import Forked
from tests.runner.recipes import PARTS, PLAIN, checkpoints_every, planned, write
from tests.runner.runs import run_with

STUDY: dict[str, Any] = {
    "study": {
        "base": "parts/plain.yaml",
        "seeds": [5, 1],
        "rows": {
            "zeta": {"title": "The Z", "notes": {"paper": 800, "formula": "(a), b: (c)"}},
            "alpha": {"overrides": {"vars.width": 6, "model": {"init_args": {"lr": 0.02}}}},
        },
    }
}


@pytest.fixture(autouse=True)
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("parts").mkdir()
    write(Path("parts/plain.yaml"), PLAIN)
    write(Path("study.yaml"), STUDY)


def configs(plan: Plan) -> dict[tuple[str, int | None], Config]:
    """The settings of the cells, each of which is one run."""
    return {cell: run.config for cell, runs in plan.cells.items() for run in runs.values()}


def wait_for(happens: Callable[[], bool], running: Forked, seconds: float = 100.0) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        assert running.poll() is None, running.said()
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_cells_are_planned_seed_by_seed_with_their_settings() -> None:
    plan = planned()
    found = configs(plan)
    assert list(found) == [("zeta", 5), ("alpha", 5), ("zeta", 1), ("alpha", 1)]
    assert [row.title for row in plan.rows] == ["The Z", "alpha"]
    assert plan.rows[0].notes == {"paper": 800, "formula": "(a), b: (c)"}
    zeta, alpha = (found[row, 1].values for row in ("zeta", "alpha"))
    assert zeta["seed_everything"] == alpha["seed_everything"] == 1
    assert zeta["model"]["init_args"] == {"width": 4, "lr": 0.01, "activation": None}
    assert alpha["model"]["init_args"] == {"width": 6, "lr": 0.02, "activation": None}
    assert alpha["data"]["init_args"]["width"] == 6
    assert plan.cells["alpha", 1]["alpha"].folder == plan.cell_folder("alpha", 1) == Path("runs/study/alpha/seed_1")


def test_options_change_the_study_or_all_rows() -> None:
    found = configs(planned("--study.seeds=[7]", "--trainer.max_steps=2", "--model.init_args.lr=0.5"))
    assert list(found) == [("zeta", 7), ("alpha", 7)]
    for config in found.values():
        assert config.values["trainer"]["max_steps"] == 2
        assert config.values["model"]["init_args"]["lr"] == 0.5


def test_other_keys_and_layers_change_all_rows_but_rows_come_after() -> None:
    write(Path("layer.yaml"), {"study": {"seeds": [2]}, "vars": {"width": 9}, "trainer": {"max_steps": 3}})
    found = configs(planned(files=("study.yaml", "layer.yaml")))
    assert list(found) == [("zeta", 2), ("alpha", 2)]
    assert [c.values["trainer"]["max_steps"] for c in found.values()] == [3, 3]
    assert [c.values["model"]["init_args"]["width"] for c in found.values()] == [9, 6]


def test_the_base_may_be_written_in_the_study_and_a_row_may_be_empty() -> None:
    write(Path("study.yaml"), STUDY, {"study": {"base": None}}, {"study": {"base": PLAIN}})
    assert configs(planned())["alpha", 1].values["data"]["init_args"]["width"] == 6
    Path("study.yaml").write_text("study:\n  base: parts/plain.yaml\n  seeds: [0]\n  rows:\n    only:\n")
    assert list(planned().cells) == [("only", 0)]


def test_the_resolved_study_is_a_recipe_for_the_same() -> None:
    first = planned("--vars.lr=0.3", "--study.seeds=[3,4]")
    Path("resolved.yaml").write_text(first.text)
    again = planned(files=("resolved.yaml",))
    assert [c.values for c in configs(again).values()] == [c.values for c in configs(first).values()]
    assert again.text == first.text


def test_a_dry_run_describes_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "study.yaml", "--dry_run"]) == 0
    text = capsys.readouterr().out
    assert "row zeta (The Z)" in text
    assert "| all | 21 | 21 |" in text
    assert "| all | 31 | 31 |" in text
    assert "2 rows × 2 seeds = 4 runs" in text
    assert not Path("runs").exists()


def reference() -> dict[tuple[str, int], str]:
    """The metrics of every cell, each run alone, without a stop and without waiting."""
    found: dict[tuple[str, int], str] = {}
    for (row, seed), config in configs(planned("--data.init_args.delay=0")).items():
        folder = Path("reference") / row / str(seed)
        assert run_with(config, folder) == 0
        found[row, seed] = (folder / "metrics.csv").read_text()
    return found


def test_a_killed_study_goes_on_to_the_same_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    slow = {"trainer": {"max_steps": 30, "val_check_interval": 10}, "data": {"init_args": {"delay": 0.06, "steps": 40}}}
    write(Path("parts/plain.yaml"), PLAIN, slow, checkpoints_every(4))
    plan = planned()
    cells = {key: plan.cell_folder(*key) for key in plan.cells}

    def in_the_middle() -> bool:
        done = [folder for folder in cells.values() if (folder / "run.json").exists()]
        points = [read_json(folder / "checkpoints/resume.json") for folder in cells.values() if folder not in done]
        return bool(done) and any(point is not None and point["step"] <= 16 for point in points)

    with forked.run(Path("log"), "study.yaml", "--jobs=2") as killed:
        wait_for(in_the_middle, killed)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    time.sleep(0.2)
    sizes = {key: (folder / "metrics.csv").stat() for key, folder in cells.items() if (folder / "metrics.csv").exists()}
    time.sleep(0.3)
    for key, before in sizes.items():
        assert (cells[key] / "metrics.csv").stat().st_mtime_ns == before.st_mtime_ns, "a child outlived its parent"
    finished = {f: (f / "run.json").stat().st_mtime_ns for f in cells.values() if (f / "run.json").exists()}
    assert 1 <= len(finished) < 4

    assert main(["run", "study.yaml", "--jobs=2"]) == 0
    text = capsys.readouterr().out
    assert f"{4 - len(finished)} of 4 runs to do" in text
    assert any("continues from step" in (folder / "log.txt").read_text() for folder in cells.values())
    assert {f: (f / "run.json").stat().st_mtime_ns for f in finished} == finished
    assert {key: (folder / "metrics.csv").read_text() for key, folder in cells.items()} == reference()

    report = Path("runs/study/report.md").read_text()
    assert "| The Z | " in report
    assert report.index("The Z") < report.index("| alpha")
    assert "| row | loss | val/error |" in text
    assert "report: runs/study/report.md" in text
    data = json.loads(Path("runs/study/report.json").read_text())
    assert data["rows"]["zeta"]["final"]["loss"] == [
        read_metrics(plan.cell_folder("zeta", seed))[-2]["loss"] for seed in (5, 1)
    ]
    assert yaml.safe_load(Path("runs/study/config.yaml").read_text())["study"]["seeds"] == [5, 1]

    assert main(["run", "study.yaml"]) == 0
    assert {f: (f / "run.json").stat().st_mtime_ns for f in finished} == finished
    assert main(["run", "study.yaml", "--vars.lr=0.3"]) == 2


def test_ctrl_c_stops_the_children_and_says_how_to_go_on() -> None:
    write(Path("parts/plain.yaml"), PLAIN, {"data": {"init_args": {"delay": 0.3}}}, checkpoints_every(1))
    cells = [Path("runs/study") / row / "seed_0" for row in ("zeta", "alpha")]
    with forked.run(Path("log"), "study.yaml", "--jobs=2", "--study.seeds=[0]") as running:
        wait_for(lambda: all((cell / "checkpoints/resume.json").exists() for cell in cells), running)
        running.send_signal(signal.SIGINT)
        assert running.wait() == 130
        text = running.said()
    assert "the same command goes on from the last checkpoint" in text
    assert "Traceback" not in text
    rows = [(cell / "metrics.csv").read_text() for cell in cells]
    time.sleep(0.5)
    assert [(cell / "metrics.csv").read_text() for cell in cells] == rows
    assert not any((cell / "run.json").exists() for cell in cells)


def test_a_study_does_not_write_over_a_run_nor_into_one(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path("runs/single")
    claim(folder)
    settings = (folder / "config.yaml", planned(files=["parts/plain.yaml"]).text)
    settings[0].write_text(settings[1])
    for out, words in (("runs/single", "holds a single run"), ("runs/single/in/it", "lies in")):
        assert main(["run", "study.yaml", "--executor=here", f"--out={out}"]) == 2
        assert words in capsys.readouterr().err
    assert settings[0].read_text() == settings[1]
    assert sorted(path.name for path in folder.iterdir()) == [".run.lock", "config.yaml"]


def test_a_failing_cell_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {"bad": {"overrides": {"model.class_path": f"{PARTS}.Broken"}}, "good": {}}
    write(Path("study.yaml"), {"study": {"base": "parts/plain.yaml", "seeds": [0], "rows": rows}})
    assert main(["run", "study.yaml", "--jobs=1"]) == 1
    text = capsys.readouterr().out
    assert "bad/seed_0 failed; its log is runs/study/bad/seed_0/log.txt" in text
    assert "RuntimeError: the toy broke" in text
    assert "1 of 2 runs are finished" in text
    log = Path("runs/study/bad/seed_0/log.txt").read_text()
    assert "about to break" in log
    assert "Traceback" in log
    assert Path("runs/study/good/seed_0/run.json").exists()
    assert not Path("runs/study/report.md").exists()
