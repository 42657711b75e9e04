"""What layers and options come to: what the parser itself reads, and where each value is written."""

from pathlib import Path
from typing import Any

import pytest

from omnigen2.runner.recipe.layers import arguments
from omnigen2.runner.recipe.recipe import read_recipe
from omnigen2.runner.recipe.settings import document_of, resolved
from omnigen2.runner.recipe.where import place_of
from tests.runner.recipes import PARTS, PLAIN, checkpoints_every, config_of, write

LAYERS: list[dict[str, Any]] = [
    {},
    {"vars": {"width": 5}, "trainer": {"max_steps": 9}},
    {"model": {"class_path": f"{PARTS}.Broken"}},
    {"data": {"class_path": f"{PARTS}.Empty"}},
    {"model": {"init_args": {"activation": {"class_path": "torch.nn.ELU", "init_args": {"alpha": 2.0}}}}},
    checkpoints_every(2),
]
OPTIONS = [
    [],
    ["--model.width=7", "--trainer.limit_val_batches=0"],
    [f"--model={PARTS}.Broken", "--model.init_args.lr=1e-3"],
    ["--model.activation=torch.nn.ELU", "--model.activation.alpha=3"],
    ["--vars.lr=0.5", "--trainer.callbacks+=lightning.pytorch.callbacks.LearningRateMonitor"],
]


def told(document: Any, values: Any) -> bool:
    """Whether each value of a document is among those that the parser has read, which has the defaults too."""
    if isinstance(document, dict) and isinstance(values, dict):
        return all(key in values and told(value, values[key]) for key, value in document.items())
    if isinstance(document, list) and isinstance(values, list):
        return len(document) == len(values) and all(map(told, document, values))
    return document == values or (isinstance(values, dict) and document == values.get("class_path"))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("layer", LAYERS)
def test_the_settings_are_those_that_the_parser_reads(
    layer: dict[str, Any], options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = [write(Path("plain.yaml"), PLAIN), write(Path("layer.yaml"), {"seed_everything": 4}, layer)]
    recipe = read_recipe(files, options)
    found = resolved(document_of(arguments(files, recipe.documents, options), files))
    assert found["model"]["init_args"]["width"] in (4, 5, 7)
    assert told(found, config_of(files[0], *options, layers=files[1:]).values)


def test_options_are_laid_over_a_document() -> None:
    block = {"study": {"random": {"count": 2, "values": {}}}}
    assert document_of(["--study.random.count=3", "--study.seeds+=4"], under=block) == {
        "study": {"random": {"count": 3, "values": {}}, "seeds": [4]}
    }
    assert block["study"]["random"]["count"] == 2


ROWS = """\
study:
  rows:
    a: {overrides: {model.init_args.width: 3}}
    b:
      overrides:
        model: {init_args: {width: x}}
trainer:
  callbacks:
    - class_path: One
      init_args: {patience: 1}
    - class_path: Other
      init_args:
        patience: 2
"""


@pytest.mark.parametrize(
    ("setting", "value", "line"),
    [
        ("model.width", 3, 3),
        ("model.width", "x", 6),
        ("model.init_args.width", "x", 6),
        ("trainer.callbacks.patience", 2, 13),
        ("trainer.callbacks[1].init_args.patience", 2, 13),
        ("trainer.callbacks.patience", 3, 0),
        ("trainer", 3, 7),
        ("study.rows.b", {}, 4),
        ("nowhere", 3, 0),
    ],
)
def test_a_value_is_found_wherever_it_is_written(setting: str, value: Any, line: int, tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(ROWS)
    place = f"{file}, line {line}: {ROWS.splitlines()[line - 1].strip()}" if line else ""
    assert place_of(setting, [file], [], value) == place


def test_an_option_comes_before_all_files(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(ROWS)
    options = ["--model.width=x", "--model.lr=3"]
    assert place_of("model.init_args.width", [file], options, "x") == "on the command line: --model.width=x"
    assert place_of("model.rank", [file], options, "x") == ""
