"""Layers, overrides and references: what is written last holds, everywhere it is referred to."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from omnigen2.errors import UserError
from omnigen2.runner.keep.longer import changes
from omnigen2.runner.plan import as_lines, parse
from omnigen2.runner.recipe.layers import arguments, merged, nested
from omnigen2.runner.recipe.recipe import read_yaml
from tests.runner.recipes import PARTS, PLAIN, config_of, write


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("plain.yaml"), PLAIN)


def values(*layers: dict[str, Any], options: tuple[str, ...] = ()) -> dict[str, Any]:
    """Resolve plain.yaml under some layers and options."""
    files = [write(Path(f"layer{number}.yaml"), layer) for number, layer in enumerate(layers)]
    return config_of(Path("plain.yaml"), *options, layers=files).values


def widths(config: dict[str, Any]) -> tuple[int, int]:
    """The width is written once; the model refers to it, and the data refers to the model."""
    return config["model"]["init_args"]["width"], config["data"]["init_args"]["width"]


def test_a_layer_or_an_option_changes_what_others_refer_to() -> None:
    assert widths(values()) == (4, 4)
    assert widths(values({"vars": {"width": 5}})) == (5, 5)
    assert widths(values({"model": {"init_args": {"width": 6}}})) == (6, 6)
    assert widths(values(options=("--vars.width=7",))) == (7, 7)
    assert widths(values(options=("--model.init_args.width=8",))) == (8, 8)
    assert widths(values({"vars": {"width": 5}}, options=("--vars.width=7",))) == (7, 7)


def test_a_layer_of_vars_adds_to_the_block() -> None:
    config = values({"vars": {"width": 5, "new": 1}}, {"vars": {"new": 2}})
    assert config["vars"] == {"width": 5, "lr": 0.01, "new": 2}
    assert config["model"]["init_args"]["lr"] == 0.01


@pytest.mark.parametrize("options", [(), (f"--model={PARTS}.Broken",), (f"--model.class_path={PARTS}.Broken",)])
def test_references_survive_a_change_of_class(options: tuple[str, ...]) -> None:
    layers = [] if options else [{"model": {"class_path": f"{PARTS}.Broken"}}]
    config = values(*layers, options=(*options, "--vars.width=9"))
    assert config["model"]["class_path"] == f"{PARTS}.Broken"
    assert widths(config) == (9, 9)


def test_references_that_the_new_class_does_not_know_are_dropped() -> None:
    config = values({"data": {"class_path": f"{PARTS}.Empty"}})
    assert config["data"] == {"class_path": f"{PARTS}.Empty", "init_args": {}} | config["data"]
    assert "width" not in config["data"].get("init_args", {})


def test_small_numbers_may_be_written_in_any_way() -> None:
    Path("layer.yaml").write_text("vars: {lr: 1e-3}\n")
    assert read_yaml(Path("layer.yaml")) == {"vars": {"lr": 0.001}}
    assert values({"vars": {"lr": 1e-05}})["model"]["init_args"]["lr"] == 1e-05


def test_text_stays_text() -> None:
    write(Path("plain.yaml"), PLAIN, {"vars": {"text": "", "number": 0}})
    assert values({"vars": {"text": "a: b"}})["vars"]["text"] == "a: b"
    assert values(options=("--vars.number=3", "--vars.text=yes: no"))["vars"]["number"] == 3


def test_a_nested_file_counts_from_its_recipe() -> None:
    Path("parts").mkdir()
    write(Path("parts/model.yaml"), {"class_path": f"{PARTS}.Net", "init_args": {"width": 11}})
    document = PLAIN | {"model": "model.yaml"}
    assert widths(config_of(write(Path("parts/recipe.yaml"), document)).values) == (11, 11)


def test_the_resolved_config_is_a_recipe_for_the_same() -> None:
    config = values(options=("--vars.width=7", "--trainer.limit_val_batches=0"))
    again = parse([f"--config={write(Path('resolved.yaml'), config)}"])
    assert again.values == config
    assert yaml.safe_load(again.text) == config


def test_dotted_keys_become_nested() -> None:
    assert nested({"a.b.c": 1, "a": {"b": {"d": 2}}, "e": 3}) == {"a": {"b": {"c": 1, "d": 2}}, "e": 3}


def test_merging_leaves_its_arguments_alone() -> None:
    first, second = {"a": {"b": 1}, "c": [1]}, {"a": {"d": 2}, "c": [2]}
    assert merged([first, second]) == {"a": {"b": 1, "d": 2}, "c": [2]}
    assert first == {"a": {"b": 1}, "c": [1]}


def test_changes_name_keys_and_values() -> None:
    assert as_lines(changes({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": None})) == [
        "a.c: 2, now 3",
        "d: None, now None",
    ]


def test_values_that_nothing_refers_to_are_refused(tmp_path: Path) -> None:
    """`vars` may hold anything, so the parser cannot see that a name is misspelt."""
    base = {"vars": {"steps": 3}, "trainer": {"max_steps": "${vars.steps}"}}
    layers: list[Path | dict[str, Any]] = [tmp_path / "base.yaml", {"vars": {"step": 4}}]
    with pytest.raises(UserError, match=r"no vars\.step in the recipe; did you mean vars\.steps\?\n  it has steps"):
        arguments(layers, [base, {"vars": {"step": 4}}], [])
    with pytest.raises(UserError, match=r"no vars\.stesp .*did you mean vars\.steps"):
        arguments([tmp_path / "base.yaml"], [base], ["--vars.stesp=4"])
    assert "--vars.steps=4" in arguments([tmp_path / "base.yaml"], [base], ["--vars.steps=4"])
    new = {"vars": {"warmup": 1}, "trainer": {"min_steps": "${vars.warmup}"}}
    assert arguments([tmp_path / "base.yaml", new], [base, new], [])
