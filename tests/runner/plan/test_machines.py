"""Where runs go is said once, by a recipe or by options over it, and what contradicts itself is told."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.commands.run import MACHINES, parse_run
from omnigen2.errors import UserError
from omnigen2.runner.plan.machines import FOR, Machines, Place, place
from omnigen2.runner.recipe import as_yaml, read_block, read_yaml

SLURM = Machines("slurm")


@given(st.integers(0, 9999), st.integers(0, 59), st.integers(0, 59))
def test_times_are_minutes_or_hours(hours: int, minutes: int, seconds: int) -> None:
    whole = hours * 60 + minutes + math.ceil(seconds / 60)
    text = f"{hours}:{minutes:02}:{seconds:02}"
    if whole:
        assert SLURM.under({"time": text}).minutes == whole
        assert SLURM.under({"time": str(whole)}).minutes == whole
    else:
        with pytest.raises(UserError, match="--time is '0:00:00', expected minutes or H:MM:SS"):
            SLURM.under({"time": text})


@pytest.mark.parametrize("time", ["0", "1:30", "1:60:00", "-5", "1.5", "1 hour", "", "²", "9999999"])
def test_other_times_are_refused(time: str) -> None:
    with pytest.raises(UserError, match=r"machines\.time is .* expected minutes or H:MM:SS, such as 90 or 1:30:00"):
        Machines("slurm", time=time).under({})


def test_options_stand_over_the_block() -> None:
    block = read_block(
        {"machines": Machines},
        {"machines": {"executor": "slurm", "gpus": 2, "time": "1:30:00", "memory": 64}},
        [],
        [Path("a.yaml")],
    )["machines"]
    words = ["a.yaml", "--gpus=4", "--partition", "big", "--time=10", "--trainer.max_steps=3"]
    options, settings = parse_run(words)
    assert settings == ["--trainer.max_steps=3"]
    made = block.under({name: getattr(options, name) for name in MACHINES})
    assert made == Machines("slurm", gpus=4, time="10", memory=64.0, partition="big")
    assert [made.named(name) for name in ("gpus", "memory")] == ["--gpus", "machines.memory"]
    assert Machines().under({"gpus": 2}).under({"executor": "local"}).named("gpus") == "--gpus"


@pytest.mark.parametrize("block", [["slurm"], None, "slurm", 7])
def test_machines_are_a_mapping(block: Any, tmp_path: Path) -> None:
    recipe = tmp_path / "a.yaml"
    recipe.write_text(as_yaml({"machines": block}))
    with pytest.raises(
        UserError, match=r"machines is .*, expected settings\n  write `machines: {name: value}`\n.* line 1"
    ):
        read_block({"machines": Machines}, {"machines": block}, [], [recipe])


@pytest.mark.parametrize(("written", "number"), [("90", 90), ("1:30:00", 5400)])
def test_a_time_without_quotes_is_told(written: str, number: int, tmp_path: Path) -> None:
    recipe = tmp_path / "a.yaml"
    recipe.write_text(f"machines: {{executor: slurm, time: {written}}}")
    made = read_block({"machines": Machines}, read_yaml(recipe), [], [recipe])["machines"]
    with pytest.raises(UserError, match=rf"machines\.time is the number {number}, .*\n  write it in quotes"):
        made.under({})


@pytest.mark.parametrize(
    ("block", "options", "words"),
    [
        ({}, {"partition": "big"}, "--partition is for slurm; the executor is local\n  leave it out, or .*=slurm"),
        ({"partition": "big"}, {"executor": "ray"}, r"machines\.partition is for slurm; the executor is ray"),
        ({"executor": "here"}, {"jobs": 2}, "--jobs is for local or slurm or ray; the executor is here"),
        ({"cpus": 4}, {}, r"machines\.cpus is for slurm or ray; the executor is local\n  .*=slurm"),
        ({"executor": "slurm", "memory": 0.5}, {}, r"machines\.memory must be at least 1 and below 10\^6, got 0.5"),
        ({"executor": "slurm"}, {"gpus": -1}, "--gpus must be at least 0 .*, got -1"),
        ({"executor": "ray", "memory": math.nan}, {}, r"machines\.memory must be"),
    ],
)
def test_what_contradicts_itself_is_refused(block: dict[str, Any], options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Machines(**block).under(options)


def test_every_setting_is_for_some_executor_and_an_option() -> None:
    assert {"executor", *FOR} == set(MACHINES)
    assert Machines("here").under({"jobs": 1}).jobs == 1


@pytest.mark.parametrize(
    ("trainer", "machines", "visible", "taken"),
    [
        ({}, Machines(), 0, Place(1, 1, 0)),
        ({}, Machines(), 8, Place(1, 1, 1)),
        ({"devices": 2}, Machines(), 8, Place(2, 1, 2)),
        ({"devices": 2}, Machines(), 0, Place(2, 1, 0)),
        ({"accelerator": "cpu", "devices": "2"}, Machines(), 8, Place(2, 1, 0)),
        ({"accelerator": "gpu", "devices": [0, 1]}, SLURM, 0, Place(2, 1, 2)),
        ({"devices": "0,1,2"}, Machines(), 8, Place(3, 1, 3)),
        ({"devices": -1}, Machines("slurm", gpus=4), 0, Place(4, 1, 4)),
        ({"devices": "auto", "num_nodes": 2}, Machines("slurm", gpus=4), 0, Place(4, 2, 4)),
        ({}, Machines("slurm"), 8, Place(1, 1, 0)),
        ({}, Machines("ray", gpus=0), 8, Place(1, 1, 0)),
    ],
)
def test_a_run_takes_what_its_trainer_says(
    trainer: dict[str, Any], machines: Machines, visible: int, taken: Place
) -> None:
    assert place(trainer, machines, visible) == taken


@pytest.mark.parametrize(
    ("trainer", "machines", "words"),
    [
        ({"devices": 2}, Machines("slurm", gpus=4), r"machines\.gpus gives 4 GPUs to a run, and .* takes 2"),
        ({"accelerator": "cpu"}, Machines("local", gpus=1), r"gives 1 GPUs to a run, and trainer.accelerator=cpu"),
        ({"accelerator": "gpu"}, Machines("local", gpus=0), "gives 0 GPUs to a run"),
        ({"devices": 4}, Machines("slurm"), "may mean GPUs or not\n  add --gpus=4, or --trainer.accelerator=cpu"),
        ({"num_nodes": 2}, Machines(), "trainer.num_nodes=2: runs on several machines need --executor=slurm"),
        ({"devices": [2, 3]}, Machines(), r"trainer.devices=\[2, 3\] names devices of one machine"),
        ({"devices": "1,"}, Machines(), "trainer.devices=1, names devices"),
        ({"devices": 0}, Machines(), "trainer.devices=0"),
    ],
)
def test_runs_that_machines_cannot_have_are_refused(trainer: dict[str, Any], machines: Machines, words: str) -> None:
    with pytest.raises(UserError, match=words):
        place(trainer, machines, 0)
