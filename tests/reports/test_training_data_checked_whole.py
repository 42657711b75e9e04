"""A line that the model cannot take was found when it was drawn, hours in, and came again after every restart.

A training reads all lines of all its data and looks for all files before it loads a model. What only opening a picture
can tell stops it with file and line, or costs its sample and is counted, as the caller chose.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import LambdaCallback

from omnigen2.cli import main
from omnigen2.data import DataError, JsonlSource, OptimizeSettings, TokenBudget, optimize
from omnigen2.errors import UserError
from omnigen2.files import write_text
from omnigen2.pictures import ImageReader, ResizePolicy
from omnigen2.runner.execute.run import takes_more_steps
from omnigen2.runner.keep import CONFIG, ResumePoint, report_sections
from omnigen2.runner.plan import Config, parse
from omnigen2.runner.recipe import arguments, read_recipe
from omnigen2.training.flow_matching import FlowMatchingModule, ImageData
from omnigen2.training.flow_matching.data_module import Validation
from omnigen2.training.flow_matching.data_parts import DataPart, Reading
from tests.data.cases import picture, t2i, write_jsonl
from tests.paths import ROOT
from tests.training.flow_parts import module, trainer

SMALL = TokenBudget(2000, ResizePolicy(max_pixels=256, multiple=4), max_samples=1)
MANY = {"task_type": "in_context", "instruction": "x", "input_images": ["a.png"] * 6, "output_image": "a.png"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "abcd":
        (tmp_path / f"{name}.png").write_bytes(picture())
    return tmp_path


def lines(folder: Path, *more: Any, name: str = "train") -> Path:
    return write_jsonl(folder / f"{name}.jsonl", [*(t2i(f"{name}.png") for name in "abc"), *more])


def image_data(path: Path, budget: TokenBudget = SMALL, reading: Reading | None = None, **more: Any) -> ImageData:
    settings = {"train": {"own": DataPart(str(path))}, "steps": 8, "mixing": "sample"} | more
    return ImageData(budget=budget, reading=reading, **settings)


def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a picture was opened")

    monkeypatch.setattr(ImageReader, "read", refuse)


WRONG = {
    "a missing picture": (t2i("gone.png"), "names the image .*gone.png, which does not exist"),
    "a folder for a picture": (t2i("."), "names the image '.', which is no file"),
    "no JSON": ("{", "is no JSON"),
    "a wrong type": (t2i("a.png", instruction=[]), r"instruction \[\], expected text"),
    "a task without its parts": (t2i("a.png", task_type="understanding"), "needs an answer"),
    "an empty instruction": (t2i("a.png", instruction=" "), "has an empty instruction"),
    "an unknown field": (t2i("a.png", seed=1), "unknown fields seed"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("held_out", [False, True])
def test_a_wrong_last_line_is_told_before_a_picture_is_opened(
    folder: Path, wrong: str, held_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, problem = WRONG[wrong]
    file = lines(folder, line, name="b")
    parts = {"own": DataPart(str(lines(folder)))}
    more: dict[str, Any] = {"validation": Validation({"held": DataPart(str(file))})} if held_out else {}
    data = image_data(file, **({"train": parts} if held_out else {}), **more)
    unopened(monkeypatch)
    message = rf"the data '(own|held)' cannot be used: .*b\.jsonl, line 4: (.|\n)*{problem}"
    with pytest.raises(DataError, match=message) as refusal:
        data.most_references()
    assert "`reading: {bad_records: skip}`" in refusal.value.advice()
    if not held_out:
        with pytest.raises(DataError, match=message):
            data.train_dataloader()


def test_more_references_than_the_model_knows_are_told_before_it_is_built(folder: Path) -> None:
    few, many = lines(folder, name="few"), lines(folder, MANY, MANY)
    assert image_data(few).most_references()[0] == 0
    (folder / "s.yml").write_text("data: [{path: few.jsonl, ratio: 1}, {path: train.jsonl, ratio: 1}]")
    optimize(folder / "s.yml", folder / "chunks", OptimizeSettings(), lambda _: None)
    places = {
        many: r"train\.jsonl, line 4",
        folder / "s.yml": r"train\.jsonl, line 4",
        folder / "chunks": r"sample 3 of train in .*chunks \(train\.jsonl:4\)",
    }
    for path, where in places.items():
        held = Validation({"held": DataPart(str(path))})
        for data in (image_data(path), image_data(few, validation=held)):
            model = module()
            with pytest.raises(UserError, match=rf"{where} has 6 references, and the transformer knows at most \d"):
                trainer(folder, 2).fit(model, datamodule=data)
            assert model.transformer is None


def test_a_sample_without_a_target_is_told_before_the_model_is_built(folder: Path) -> None:
    asked = {"task_type": "understanding", "instruction": "?", "input_images": ["a.png"], "answer": "!"}
    lines(folder, asked)
    write_jsonl(folder / "few.jsonl", [t2i("a.png")])
    (folder / "s.yml").write_text("data: [{path: few.jsonl, ratio: 1}, {path: train.jsonl, ratio: 0}]")
    optimize(folder / "train.jsonl", folder / "chunks", OptimizeSettings(), lambda _: None)
    places = {"train.jsonl": r"train\.jsonl, line 4", "chunks": r"sample 3 of train in .*chunks \(train\.jsonl:4\)"}
    for path, where in places.items():
        with pytest.raises(DataError, match=rf"{where} has no target to draw\n.*weight 0"):
            trainer(folder, 2).fit(module(), datamodule=image_data(folder / path))
    never = {"own": DataPart(str(folder / "few.jsonl")), "asked": DataPart(str(folder / "train.jsonl"), weight=0)}
    for data in (image_data(folder / "s.yml"), image_data(folder, train=never)):
        assert data.looked_through().undrawn == ""


def test_inspect_says_which_sample_the_released_model_cannot_take(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = str(folder / "s.png")
    assert main(["data", "inspect", str(lines(folder, MANY)), "--out", sheet]) == 0
    assert "train.jsonl:4 has 6: the released model knows 5" in capsys.readouterr().out
    assert main(["data", "inspect", str(lines(folder, t2i("gone.png"))), "--out", sheet]) == 0
    assert "bad record left out: " in (out := capsys.readouterr().out)
    assert "train.jsonl, line 4: " in out
    assert main(["data", "inspect", str(folder / "none.jsonl"), "--out", sheet]) == 2


def test_a_sample_above_the_budget_is_named_before_the_first_step(folder: Path) -> None:
    file = lines(folder, t2i("d.png", instruction="x" * 700))
    tight = TokenBudget(500, ResizePolicy(max_pixels=256, multiple=8))
    with pytest.raises(DataError, match=r"train\.jsonl:4 of own takes \d+ tokens, a batch has 500\n.*oversized"):
        image_data(file, tight).train_dataloader()
    tight = TokenBudget(500, ResizePolicy(max_pixels=256, multiple=8), "skip")
    with pytest.warns(UserWarning, match="1 of 4 samples of own are above the budget and are left out"):
        image_data(file, tight).train_dataloader()


def spoil(folder: Path, name: str) -> LambdaCallback:
    """Cut a picture off when training has begun: it was whole when it was looked at."""

    def cut(*_: Any) -> None:
        (folder / name).write_bytes(picture()[:60])

    return LambdaCallback(on_train_start=cut)


def fit(folder: Path, reading: Reading, steps: int, resume: Path | None = None) -> FlowMatchingModule:
    model = module()
    callbacks = [ResumePoint(every_n_train_steps=1), spoil(folder, "b.png")]
    data = image_data(lines(folder), reading=reading)
    trainer(folder / "run", steps, *callbacks, enable_checkpointing=True).fit(
        model, datamodule=data, ckpt_path=resume, weights_only=True
    )
    return model


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_breaks_later_stops_with_file_and_line(folder: Path, workers: int) -> None:
    with pytest.raises(DataError) as refusal:
        fit(folder, Reading(workers=workers), 8)
    assert "(train.jsonl:2): image file" in refusal.value.message
    assert "b.png cannot be read" in refusal.value.message
    assert "`reading: {broken: skip}`" in refusal.value.advice()


@pytest.mark.filterwarnings("ignore:left out", "ignore:1 pictures of the data")
def test_a_picture_that_breaks_later_costs_its_sample_also_after_a_restart(folder: Path) -> None:
    """Each batch is one sample, so that a batch is lost."""
    assert fit(folder, Reading(broken="skip"), 8).trainer.global_step == 8
    (folder / "b.png").write_bytes(picture())
    fit(folder, Reading(broken="skip"), 3)
    kept = max((folder / "run" / "checkpoints").glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
    assert fit(folder, Reading(broken="skip"), 8, kept).trainer.global_step == 8


@pytest.mark.filterwarnings("ignore:left out", "ignore:1 pictures of the data", "ignore:1 bad records")
def test_the_report_says_what_was_left_out_also_before_a_restart(folder: Path) -> None:
    """All is left out that can be: a line, a picture that is broken at the start, and one that breaks later."""
    write_jsonl(folder / "train.jsonl", [*(t2i(f"{name}.png") for name in "abcd"), t2i("gone.png")])
    reading = Reading(bad_records="skip", broken="skip")

    def run(name: str, steps: int, resume: Path | None = None, mended: bool = False) -> tuple[str, Path]:
        (folder / "b.png").write_bytes(picture())
        (folder / "d.png").write_bytes(picture()[: None if mended else 60])
        model, data = module(), image_data(folder / "train.jsonl", reading=reading, steps=steps)
        spoils = [] if mended else [spoil(folder, "b.png")]
        made = trainer(folder / name, steps, ResumePoint(1), *spoils, enable_checkpointing=True)
        made.fit(model, datamodule=data, ckpt_path=resume, weights_only=True)
        (section,) = report_sections(made, folder / name)
        return section, max((folder / name / "checkpoints").glob("*.ckpt"), key=lambda path: path.stat().st_mtime)

    whole, _ = run("whole", 6)
    assert "- 1 bad records of the data 'own' are left out, the first: " in whole
    assert "train.jsonl, line 5: " in whole
    assert "- 1 pictures of the data 'own' cannot be read and cost their samples, such as " in whole
    assert re.search(r"- [4-9] times a sample of the training data could not be read and was left out: ", whole)
    assert all(name in whole for name in ("(train.jsonl:2): image file", "(train.jsonl:4): image file"))
    _, kept = run("parts", 3)
    assert "(train.jsonl:4): image file" in run("mended", 6, kept, mended=True)[0]
    assert run("parts", 6, kept)[0] == whole
    write_jsonl(folder / "train.jsonl", [t2i("a.png")])
    assert run("sound", 2)[0] == "No sample of the data was left out."


def test_a_run_that_was_stopped_by_a_picture_goes_on_without_it(tmp_path: Path) -> None:
    """What the message advises fits the folder of the run; another setting does not."""

    def config(*options: str) -> Config:
        recipe = read_recipe([ROOT / "recipes/finetune/lora.yaml"], options)
        return parse(arguments(recipe.files, recipe.documents, recipe.overrides), recipe.files)

    write_text(tmp_path / CONFIG, config().text)
    reading = "--data.init_args.reading."
    assert not takes_more_steps(tmp_path, config(f"{reading}broken=skip", f"{reading}workers=0"))
    with pytest.raises(UserError, match=r"other settings(.|\n)*data.init_args.mixing"):
        takes_more_steps(tmp_path, config(f"{reading}broken=skip", "--data.init_args.mixing=batch"))


def test_all_lines_are_read_before_the_first_picture(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = lines(folder, "{")
    unopened(monkeypatch)
    with pytest.raises(DataError, match="line 4: is no JSON"):
        JsonlSource(file)
