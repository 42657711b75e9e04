"""Stages as a plan: settings, starts, references, options, and every mistake that can be made."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from omnigen2.cli import main
from omnigen2.errors import UserError
from omnigen2.runner.recipe import Document, Places
from tests.runner.recipes import planned, write
from tests.runner.stage_recipes import PARTS, PLAIN, STAGES, stages, write_stages


@pytest.fixture(autouse=True)
def recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_stages()


def starts(*options: str, file: str = "stages.yaml") -> list[str | None]:
    return [run.start and run.start.name for run in stages(*options, file=file)]


def model(stage: int, *options: str) -> Document:
    return dict(stages(*options)[stage].config.values["model"]["init_args"])


def test_stages_are_planned_in_order_with_their_settings() -> None:
    found = stages()
    assert [(run.name, run.start and run.start.name, str(run.folder)) for run in found] == [
        ("a", None, "runs/stages/a"),
        ("b", "a", "runs/stages/b"),
        ("c", "a", "runs/stages/c"),
    ]
    assert [run.config.values["trainer"]["max_steps"] for run in found] == [4, 3, 4]
    assert found[1].config.values["data"]["init_args"]["first"] == 4
    assert not Path("runs").exists()


def test_a_start_is_two_settings_that_one_can_see() -> None:
    assert model(0) == {"lr": 0.01, "weights": None, "optimizer_state": None, "note": None}
    assert model(1) == model(0) | {"weights": "runs/stages/a/weights"}
    assert model(2) == model(1) | {"optimizer_state": "runs/stages/a/weights/optimizer.safetensors"}


def test_a_stage_starts_from_the_one_before_unless_it_says_otherwise() -> None:
    write_stages(STAGES | {"d": {"recipe": PLAIN}, "e": {"recipe": PLAIN, "start": "nothing"}})
    assert starts() == [None, "a", "a", "c", None]
    assert model(4) == model(0)


def test_a_start_comes_over_the_weights_of_the_recipe_and_under_an_option() -> None:
    write_stages({"a": {"recipe": PLAIN}, "b": {"recipe": PLAIN | {"model": model_with(weights="elsewhere")}}})
    assert model(1)["weights"] == "runs/stages/a/weights"
    assert model(1, "--stages.b.model.init_args.weights=other")["weights"] == "other"
    other = stages("--stages.b.model.init_args.weights=other")[1]
    assert (other.start, other.references) == (None, {})
    document = planned("--stages.b.model.init_args.weights=other", files=["stages.yaml"]).document
    assert document["stages"]["b"]["recipe"]["model"]["init_args"]["weights"] == "other"


def model_with(**arguments: Any) -> Document:
    return {"class_path": f"{PARTS}.Linear", "init_args": arguments}


def test_a_reference_is_a_path_into_an_earlier_stage_wherever_it_stands() -> None:
    override = {"overrides": {"model.init_args.note": "@a/config.yaml", "trainer": {"default_root_dir": "@b/x y"}}}
    recipe = {"recipe": PLAIN | {"model": model_with(note="@b/metrics.csv")}, "start": "nothing"}
    write_stages(STAGES | {"d": {"recipe": "parts/plain.yaml", **override}, "e": recipe})
    d, e = stages()[3:]
    assert d.config.values["model"]["init_args"]["note"] == "runs/stages/a/config.yaml"
    assert d.config.values["trainer"]["default_root_dir"] == "runs/stages/b/x y"
    assert set(d.references.values()) == {"@a/config.yaml", "@b/x y", "@c/weights"}
    assert e.config.values["model"]["init_args"]["note"] == "runs/stages/b/metrics.csv"
    assert model(4, "--stages.e.model.init_args.note=@c/run.json")["note"] == "runs/stages/c/run.json"


@pytest.mark.parametrize("text", ["@a", "a@a/x", "@a /x", "mail@a/x", "--x=y@a/x", "@/x"])
def test_text_that_is_no_reference_stays(text: str) -> None:
    places = Places({"a": Path("f")})
    assert places.filled({"k": [text, 3, None]}) == {"k": [text, 3, None]}
    assert places.used == {}


def test_options_are_for_all_stages_or_for_one() -> None:
    found = stages("--trainer.max_steps=2", "--stages.b.trainer.max_steps=9", "--stages.c.model.init_args.lr=0.5")
    assert [run.config.values["trainer"]["max_steps"] for run in found] == [2, 9, 2]
    assert [run.config.values["model"]["init_args"]["lr"] for run in found] == [0.01, 0.01, 0.5]
    one = stages("--stages.b.optimizer=torch.optim.SGD", "--stages.b.optimizer.lr=0.1")[1]
    assert one.config.values["optimizer"]["class_path"] == "torch.optim.SGD"


def test_layers_and_other_keys_are_for_all_stages_but_overrides_come_after() -> None:
    write_stages(trainer={"max_steps": 7})
    layer = write(Path("layer.yaml"), {"seed_everything": 8, "stages": {"c": {"start": "b"}}})
    found = planned(files=["stages.yaml", str(layer)]).runs
    assert [run.config.values["trainer"]["max_steps"] for run in found] == [7, 3, 7]
    assert [run.config.values["seed_everything"] for run in found] == [8, 8, 8]
    assert [run.start and run.start.name for run in found] == [None, "a", "b"]


def test_the_resolved_stages_are_a_recipe_for_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    override = {"overrides": {"model.init_args.note": "@a/config.yaml"}}
    report = {"class_path": f"{PARTS}.Names", "init_args": {"title": "a: b"}}
    write_stages(STAGES | {"d": {"recipe": "parts/plain.yaml", **override}}, report=report)
    assert main(["run", "stages.yaml", "--print_config", "--trainer.max_steps=2"]) == 0
    Path("resolved.yaml").write_text(capsys.readouterr().out)
    assert "runs/" not in Path("resolved.yaml").read_text()
    first = planned("--trainer.max_steps=2", files=["stages.yaml"])
    again = planned(files=["resolved.yaml"], folder=Path("runs/stages"))
    assert [run.config.values for run in again.runs] == [run.config.values for run in first.runs]
    assert starts(file="resolved.yaml") == [None, "a", "a", "c"]
    assert again.text == first.text == Path("resolved.yaml").read_text()
    assert type(again.report).__name__ == "Names"
    elsewhere = stages(file="resolved.yaml", folder=Path("x"))
    assert elsewhere[2].config.values["model"]["init_args"]["weights"] == "x/a/weights"


def test_a_dry_run_describes_every_stage_and_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    note = {"recipe": PLAIN, "overrides": {"model.init_args.note": "@b/note.txt"}}
    write_stages(STAGES | {"d": note})
    assert main(["run", "stages.yaml", "--dry_run"]) == 0
    text = capsys.readouterr().out
    assert text.count("| all | 4 | 4 |") == 3
    assert "stage 1 of 4: a, starts from nothing" in text
    assert "stage 3 of 4: c, starts from a" in text
    assert "(built without @a/weights)" in text
    assert "(built without @a/weights, @a/weights/optimizer.safetensors)" in text
    assert "cannot be built before there is @b/note.txt" in text
    assert "output would go to runs/stages/" in text
    assert not Path("runs").exists()


LINEAR = {"recipe": "parts/plain.yaml"}
WRONG: list[tuple[Document, str]] = [
    ({}, r"stages.yaml: stages is empty"),
    ({"a/b": LINEAR}, r"the stage 'a/b' cannot name a folder"),
    ({".a": LINEAR}, r"the stage '.a' cannot name a folder"),
    ({"previous": LINEAR}, r"cannot be called 'previous'"),
    ({"a": {}}, r"stage a: it names no recipe"),
    ({"a": None}, r"stage a: it names no recipe"),
    ({"a": {"recipe": "nowhere.yaml"}}, r"stage a: there is no recipe nowhere.yaml"),
    ({"a": {"recipe": "stages.yaml"}}, r"stage a: recipe: stages.yaml has `stages`; a stage needs a plain recipe"),
    ({"a": {"recipe": {"study": {}}}}, r"stage a: recipe: it has `study`"),
    ({"a": LINEAR | {"strat": "b"}}, r"'strat'"),
    ({"a": LINEAR | {"optimizer": "kept"}}, r"stages.*kept"),
    ({"a": LINEAR | {"overrides": {"trainer.max_step": 1}}}, r"stage a: trainer has no setting 'max_step'"),
    ({"a": LINEAR | {"start": "a"}}, r"stage a: start: there is no earlier stage 'a'\n.*this is the first stage"),
    ({"a": LINEAR | {"start": "b"}, "b": LINEAR | {"start": "a"}}, r"stage a: start: there is no earlier stage 'b'"),
    ({"one": LINEAR, "b": LINEAR | {"start": "oen"}}, r"no earlier stage 'oen'; did you mean one\?\n.*one of: one"),
    ({"a": LINEAR | {"optimizer": "carried"}}, r"stage a: optimizer: carried needs a stage to start from"),
    ({"a": LINEAR, "b": LINEAR | {"optimizer": "carried", "start": "nothing"}}, r"stage b: optimizer: carried needs"),
    (
        {"a": LINEAR, "b": LINEAR | {"overrides": {"model.init_args.note": "@b/y"}}},
        r"@b/y: there is no earlier stage 'b'\n.*: a$",
    ),
    (
        {"a": LINEAR | {"overrides": {"model.init_args.note": "@z/y"}}},
        r"@z/y: there is no earlier stage 'z'\n.*the first one",
    ),
    (
        {"a": LINEAR, "b": LINEAR | {"overrides": {"model.init_args.weights": "x"}}},
        r"stage b: overrides set model.init_args.weights, and so does the start from a\n.*start: nothing",
    ),
    (
        {"a": LINEAR, "b": LINEAR | {"overrides": {"model.class_path": f"{PARTS}.Weightless"}}},
        r"stage b: .*Weightless has no parameter 'weights', so it cannot start from a; write `start: nothing`",
    ),
    (
        {
            "a": LINEAR,
            "b": LINEAR | {"optimizer": "carried", "overrides": {"model.class_path": f"{PARTS}.NoOptimizerState"}},
        },
        r"no parameter 'optimizer_state', so it cannot start from a; write `optimizer: fresh`",
    ),
    (
        {"a": LINEAR | {"overrides": {"model": "tests.runner.toy_parts.Net"}}, "b": LINEAR},
        r"stage b: @a/weights will not exist: the model of a, tests.runner.toy_parts.Net, has no method save_weights",
    ),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_a_mistake_in_stages(wrong: Document, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_stages(wrong)
    assert main(["run", "stages.yaml"]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error, flags=re.MULTILINE), error
    assert "Traceback" not in error
    assert len(error.splitlines()) <= 3, error
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--stages.z.trainer.max_steps=1", r"--stages.z.trainer.max_steps=1: there is no stage 'z'"),
        ("--stages.a.trainer.max_step=1", r"stage a: unknown option --trainer.max_step; did you mean"),
        ("--trainer.max_step=1", r"stage a: unknown option --trainer.max_step; did you mean"),
        ("--stages.b.start=nothing", r"--stages.b.start=nothing: start of a stage is changed in the recipe"),
        ("--stages.b.optimizer=carried", r"optimizer of a stage is changed in the recipe"),
        ("--stages.b.overrides.trainer.max_steps=1", r"such as --stages.b.trainer.max_steps=100"),
        ("--stages.b=3", r"--stages.b=3 names no setting; write --stages.b.KEY=VALUE"),
        ("--stages.a.model.init_args.note=@b/x", r"stage a: @b/x: there is no earlier stage 'b'"),
    ],
)
def test_a_mistake_in_an_option(option: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        stages(option)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"stages": 3}, "`stages` must be a mapping"),
        ({"stages": {}, "study": {}}, "both `study` and `stages`"),
        ({"stages": STAGES, "report": {"class_path": f"{PARTS}.Namess"}}, "has no Namess; did you mean Names?"),
        ({"stages": STAGES, "report": {"class_path": f"{PARTS}.Steps"}}, "Report"),
    ],
)
def test_a_mistake_around_the_stages(
    document: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("stages.yaml").write_text(yaml.safe_dump(document))
    assert main(["run", "stages.yaml"]) == 2
    assert message in capsys.readouterr().err


def test_a_layer_with_stages_needs_stages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "parts/plain.yaml", "stages.yaml"]) == 2
    assert "a layer with `stages` needs a recipe with stages as the first file" in capsys.readouterr().err
