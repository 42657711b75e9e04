"""Every error that people meet: two or three lines, exit status 2, no traceback."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from omnigen2.cli import main
from omnigen2.errors import UserError
from omnigen2.generate.errors import GenerateError
from omnigen2.runner.recipe.messages import building
from tests.runner.recipes import PARTS, PLAIN, write


def fails(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command, and return the message of its failure."""
    assert main(["run", *words]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "Traceback" not in message
    assert len(message.splitlines()) <= 3, message
    assert "Parser key" not in message
    assert "Union subtypes" not in message
    return message


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write(Path("plain.yaml"), PLAIN)


LAYERS: list[tuple[dict[str, Any], str]] = [
    ({"modle": {"init_args": {"width": 3}}}, "unknown key 'modle'; did you mean model"),
    (
        {"trainer": {"max_stepz": 3}},
        "trainer has no setting 'max_stepz'; did you mean max_steps?\n  layer.yaml, line 2",
    ),
    ({"model": {"init_args": {"widht": 3}}}, f"{PARTS}.Net (at model) has no parameter 'widht'; did you mean width?"),
    ({"model": {"init_arg": {"width": 3}}}, "has no parameter 'init_arg'; did you mean init_args?"),
    ({"trainer": {"max_steps": "many"}}, "trainer.max_steps: expected int, got many"),
    ({"model": {"init_args": {"width": [1]}}}, f"model.width (of {PARTS}.Net): expected int, got [1]"),
    ({"data": {"init_args": {"kind": "other"}}}, "other"),
    ({"seed_everything": "abc"}, "seed_everything: expected bool or int, got abc"),
    ({"seed_everything": True}, "another seed at every start"),
    ({"seed_everything": -1}, "seed_everything must be at least 0 and below 4294967296 (2^32), got -1\n  use another"),
    ({"seed_everything": 2**32}, "below 4294967296 (2^32), got 4294967296"),
    (
        {"zzz": 1},
        "unknown key 'zzz'; known keys: data, lr_scheduler, model, optimizer, seed_everything, trainer, vars\n",
    ),
    ({"model": {"class_path": f"{PARTS}.Nett"}}, f"model: {PARTS} has no Nett; did you mean Net?"),
    ({"model": {"class_path": "nopackage.Net"}}, "nopackage.Net does not import: No module named 'nopackage'"),
    (
        {"model": {"class_path": "torch.nn.Linear"}},
        "model: torch.nn.Linear is no LightningModule\n  known: ",
    ),
    ({"optimizer": {"class_path": "torch.optim.AdamWW"}}, "torch.optim has no AdamWW; did you mean AdamW?"),
    (
        {"optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lrr": 1}}},
        "no parameter 'lrr'; did you mean lr?",
    ),
    ({"model": {"init_args": {"activation": {"class_path": "torch.nn.ELU", "init_args": {"alhpa": 1}}}}}, "alpha?"),
    ({"model": {"init_args": {"width": "${nope.x}"}}}, "model.init_args.width: the reference ${nope.x} leads nowhere"),
    ({"model": {"init_args": {"width": "${oc.env:OMNIGEN2_NO_SUCH_NAME}"}}}, "OMNIGEN2_NO_SUCH_NAME"),
    ({"model": {"init_args": {"width": "${nope:3}"}}}, "Unsupported interpolation type nope"),
    ({"stages": []}, "layer.yaml: a layer with `stages` needs a recipe with stages as the first file"),
    ({"study": {}}, "needs a study as the first file"),
]


@pytest.mark.parametrize(("layer", "message"), LAYERS)
def test_a_mistake_in_a_layer(
    layer: dict[str, Any], message: str, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(Path("layer.yaml"), layer)
    assert message in fails([str(plain), "layer.yaml"], capsys)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--modle.width=3", "unknown option --modle.width; did you mean --model?"),
        ("--trainer.max_step=3", "unknown option --trainer.max_step; did you mean --trainer.max_steps?"),
        ("--trainer.max_steps=x", "trainer.max_steps: expected int, got x"),
        ("--model.init_args.widht=3", "has no parameter 'widht'; did you mean width?"),
        ("--model.width=x", "expected int, got x"),
        (
            "--model.init_args.activaton.init_args.alpha=1",
            f"{PARTS}.Net (at model) has no parameter 'activaton'; did you mean activation?\n",
        ),
        ("--data.init_args.kind=other", "expected one of 'steps', 'shuffled', got other"),
        ("--trainer.precision=other", "trainer.precision: expected one of 64, 32, 16, 'transformer-engine', "),
        ("--model=nopackage.Net", "nopackage.Net does not import"),
        ("--model.init_args.width=${nope}", "the reference ${nope} leads nowhere"),
        ("--zzz=3", "unknown option --zzz; --print_config lists the settings that the recipe has\n"),
        ("--model.init_args.width=0", "width must be at least 1, got 0\n  (ValueError while building the recipe"),
    ],
)
def test_a_mistake_in_an_option(option: str, message: str, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in fails([str(plain), option], capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "broken.yaml is empty\n  known forms"),
        ("# nothing but a comment\n", "broken.yaml is empty"),
        ("- a\n", "must hold a mapping of names to values, got list"),
        ("1: a\n", "the key '1' (int) is no text"),
        ("model: {\n  a: [}\n", "broken.yaml, line 2 is not valid YAML"),
        ("model: 1\nmodel: 2\n", "broken.yaml, line 2 is not valid YAML: the key 'model' stands twice"),
        ("trainer: {}\n", "the recipe lacks model"),
        ("model: null\n", "model"),
        ("\xff\xfe\x00", "not a text file in UTF-8"),
    ],
)
def test_a_file_that_is_no_recipe(text: str, message: str, plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.yaml").write_bytes(text.encode("latin-1"))
    assert message in fails(["broken.yaml"], capsys)


def test_a_file_that_may_not_be_read(
    plain: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert "plain.yaml cannot be read: Permission denied\n  check the permissions" in fails(["plain.yaml"], capsys)


def test_a_folder_that_cannot_be_written(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    message = fails([str(plain), "--out=file/runs"], capsys)
    assert "file/runs cannot be written: Not a directory\n  check the permissions, or choose another" in message


def test_a_recipe_that_was_refused_before_it_trained_may_be_mended(
    plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fails([str(plain), "--model.init_args.width=0"], capsys)
    assert main(["run", str(plain), "--trainer.max_steps=1"]) == 0


def test_an_error_of_two_lines_is_told_in_two() -> None:
    with pytest.raises(UserError, match=r"^no steps\n  ask for one$"), building():
        raise GenerateError("no steps", "ask for one")


def test_a_missing_file_gets_a_suggestion_and_a_folder_is_no_recipe(
    plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ". is a folder, not a recipe; it holds plain.yaml" in fails(["."], capsys)
    Path("recipes").mkdir()
    write(Path("recipes/rope_toy.yaml"), PLAIN)
    assert "did you mean recipes/rope_toy.yaml?" in fails(["rope_tyo.yaml"], capsys)
    assert "did you mean plain.yaml?" in fails(["plain.yml"], capsys)
    assert "recipes here: plain.yaml, recipes/rope_toy.yaml" in fails(["zzz.yaml"], capsys)


def test_verbose_shows_the_traceback(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(plain), "--zzz=3", "--verbose"]) == 2
    message = capsys.readouterr().err
    assert "Traceback" in message
    assert message.endswith("error: unknown option --zzz; --print_config lists the settings that the recipe has\n")


STUDY = {"study": {"base": "plain.yaml", "seeds": [0], "rows": {"a": {}}}}
STUDIES: list[tuple[dict[str, Any], str]] = [
    ({"seeds": []}, "study.seeds is empty"),
    ({"seeds": [1, 2, 1]}, "study.seeds has 1 twice"),
    ({"seeds": ["x"]}, "x"),
    ({"rows": {}}, "study.rows is empty"),
    ({"rows": {"a/b": {}}}, "the row 'a/b' cannot name a folder"),
    (
        {"rows": {"a": {"overides": {"vars.width": 3}}}},
        "study.rows.a has no setting 'overides'; did you mean overrides?",
    ),
    ({"rows": {"a": 3}}, "study.rows.a is 3, expected settings"),
    ({"rows": {"a": {"overrides": {"model.init_args.widht": 3}}}}, "row a: "),
    ({"rows": {"a": {"overrides": {"trainer.max_steps": "x"}}}}, "got x\n  study.yaml, line 6: trainer."),
    ({"base": "nowhere.yaml"}, "there is no recipe nowhere.yaml"),
    ({"base": "study.yaml"}, "the base study.yaml is a study itself; it must be a plain recipe"),
    ({"sedes": [0]}, "'sedes'"),
    (
        {"report": {"class_path": "omnigen2.runner.reports.study.MetricTabel"}},
        "has no MetricTabel; did you mean MetricTable?",
    ),
    ({"report": {"class_path": f"{PARTS}.Net"}}, "Report"),
    ({"report": {"class_path": "omnigen2.runner.reports.MetricTable", "init_args": {"digits": 0}}}, "got 0"),
]


@pytest.mark.parametrize(("change", "message"), STUDIES)
def test_a_mistake_in_a_study(
    change: dict[str, Any], message: str, plain: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("study.yaml").write_text(yaml.safe_dump({"study": STUDY["study"] | change}))
    assert message in fails(["study.yaml"], capsys)
    assert not Path("runs").exists()


def test_a_mistake_around_a_study_or_in_an_option(plain: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("study.yaml").write_text("study: 3\n")
    assert "`study` must be a mapping with base, seeds and rows" in fails(["study.yaml"], capsys)
    write(Path("study.yaml"), STUDY)
    assert "unknown option --study.sedes" in fails(["study.yaml", "--study.sedes=[0]"], capsys)
    assert "not by an option --study.rows" in fails(["study.yaml", "--study.rows.a.title=x"], capsys)
    assert "study.seeds has 3 twice" in fails(["study.yaml", "--study.seeds=[3,3]"], capsys)
    assert "row a: unknown option --trainer.max_step" in fails(["study.yaml", "--trainer.max_step=3"], capsys)
