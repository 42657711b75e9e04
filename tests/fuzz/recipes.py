"""Recipes that are broken in every way that a person, an editor or another program might think of."""

import contextlib
import copy
import datetime
import io
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from omnigen2.runner import Options, launch
from tests.runner.recipes import PARTS, PLAIN
from tests.runner.stage_recipes import PLAIN as LINEAR

POINT = {"class_path": "omnigen2.runner.keep.ResumePoint", "init_args": {"every_n_train_steps": 2}}
FLAT = PLAIN | {
    "trainer": PLAIN["trainer"] | {"callbacks": [POINT]},
    "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": "${vars.lr}"}},
    "lr_scheduler": {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 3}},
}
STAGES = {
    "stages": {
        "a": {"recipe": LINEAR, "overrides": {"trainer.max_steps": 3}},
        "b": {"recipe": LINEAR, "start": "a", "optimizer": "carried"},
    },
    "report": {"class_path": "omnigen2.runner.reports.StageTable", "init_args": {"digits": 2}},
}
STUDY = {
    "study": {
        "base": PLAIN,
        "seeds": [0, 1],
        "rows": {"one": {"title": "One", "overrides": {"vars.width": 3}}, "two": None},
        "report": {"class_path": "omnigen2.runner.reports.MetricTable"},
        "watch": "loss",
    }
}
REFERENCES = (
    "${vars.nothing}", "${", "${}", "${vars}", "${trainer}", "${model.init_args}", "${vars.width", "${.width}",
    "${..lr}", "${oc.env:NOT_SET}", "${oc.decode:x}", "${nobody:1}", "${vars.${vars.width}}", "a${vars.width}b",
    "${seed_everything}", "${model}", "@a/weights", "@nobody/weights", "???",
)  # fmt: skip
CLASSES = (
    "torch.optim.SGD", "torch.optim.Optimizer", "torch.nn.Linear", "torch.nn.Module", "builtins.dict", "os.system",
    "lightning.pytorch.LightningModule", "lightning.pytorch.Callback", "lightning.pytorch.callbacks.EarlyStopping",
    "omnigen2.training.parts.OptimizerRecipe", "omnigen2.training.flow_matching.FlowMatchingModule",
    "omnigen2.runner.plan.Report", "omnigen2.runner.keep.ResumePoint", "nowhere.Class", "torch.nowhere",
    "torch",
    "Net", ".", "..", "a.", ".a", "", "1.2", "tests.runner.toy_parts.Data", f"{PARTS}.Net", f"{PARTS}.Nett",
    "tests.runner.broken_module.Net", "tests.runner.stage_parts.Weightless",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 3, 2**70, -(2**33), 0.5, -0.0, float("nan"), float("inf"), 1e308, "", " ", "x",
    "wandb",
    "true", "null", "1e400", "1_000", "0x10", "12:30:45", "a: b", "- a", "{", "[1, 2", "*a", "\ud7ff", "\u2028",
    "é" * 300,
    "9" * 400, [], [[]], [None], [1, 2], ["a"], [{}], {}, {"a": 1}, {"class_path": None}, {"class_path": 1},
    {"class_path": []}, {"init_args": {}}, {"class_path": "torch.nn.Tanh", "init_args": None},
    {"class_path": "torch.nn.Tanh", "init_args": 3}, {"class_path": "torch.nn.Tanh", "other": 3},
    {"class_path": "torch.nn.Tanh", "dict_kwargs": {"a": 1}}, {1: 2}, {None: 1}, {True: False}, {1.5: {}},
    datetime.date(2024, 1, 31), datetime.datetime(2024, 1, 31, 12, 30), b"bytes", {"a", "b"},
    [POINT, POINT], [POINT, None], ["EarlyStopping"], {"": {"": ""}}, [[[[[[1]]]]]],
)  # fmt: skip
OPTIONS = (
    "--trainer.devices=", "--trainer.logger=wandb", "--trainer.logger=true", "--trainer.max_steps=[1,2]", "--vars=1",
    "--vars=", "--vars.width=[3,4]", "--vars.nothing=1", "--model=", "--model=1", "--model.init_args=", "--data=null",
    "--model.init_args.lr=[0.1,0.2]", "--model.init_args.lr={", "--=1", "--.=1", "--trainer.=1",
    "--trainer..max_steps=1",
    "--optimizer.class_path=torch.optim.SGD", "--optimizer=torch.optim.SGD", "--optimizer=Adam", "--lr_scheduler=x",
    "--trainer.callbacks=EarlyStopping", "--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=loss",
    "--trainer.callbacks={}", "--config=nowhere.yaml", "--config=", "--print_config=x", "--help=1",
    "--seed_everything=x",
    "--seed_everything=-1", "--seed_everything=1.5", "--stages.a.trainer.max_steps=2", "--stages.a=1", "--stages.c.x=1",
    "--stages.a.recipe=x", "--study.seeds=[]", "--study.seeds=0", "--study.seeds=[a]", "--study.rows=1", "--study=1",
    "--trainer.max_steps=1e3", "--trainer.max_steps=2024-01-01", "--trainer.precision=8", "--trainer.strategy=none",
    "--trainer.limit_val_batches=2.5", "--trainer.max_time=soon", "--trainer.plugins=x", "--trainer.profiler=x",
)  # fmt: skip
TEXTS = (
    "", "\n", "null", "1", "[]", "- a\n- b", "a", "{", "a: b: c", "\ta: 1", "a: &x [*x]", "a: &x {b: *x}", "a: *nobody",
    "? [1, 2]\n: 3", "? {a: 1}\n: 2", "1: 2", "null: 1", "true: 1", "2024-01-01: 1", "a: 2024-13-45", "a: 2024-02-30",
    "a: !!python/object:os.system x", "a: !!int x", "a: !!float x", "a: !!binary x", "a: !nobody 1", "a: 0o9",
    "%YAML 9\n---\na: 1",
    "a: 1\n---\nb: 2", "a: 1\na: 2", "vars: 1", "vars: []", "vars: null", "vars: text", "trainer: 1", "model: x",
    "data: []",
    "stages: 1", "stages: []", "stages: null", "stages: {}", "stages: {a: 1}", "stages: {a: {b: 1}}", "study: 1",
    "study: {}",
    "study: {rows: 1, seeds: [0]}", "study: {rows: {}, seeds: [0]}", "study: {rows: {a: 1}, seeds: [0]}", "report: 1",
    "vars: {a: '${vars.b}', b: '${vars.a}'}", "vars: {a: '${vars.a}'}", "trainer: ${trainer}",
    "model: ${data}\ndata: ${model}",
    "trainer: {max_steps: '${model}'}", "vars: {lr: '${model.init_args.lr}'}", "vars: {lr: {a: '${vars.lr}'}}",
    "vars: {a: 1, 2: 3}", "vars: {a.b: 1}", "vars: {a: {b: {c: [1, {d: 2}]}}}", "trainer.max_steps: 3", "<<: {a: 1}",
    "a: " + "[" * 60 + "]" * 60, "é: 1", "\ufeffvars: {a: 1}", "vars: {width: !!set {a, b}}", "vars: {lr: 1__0}",
    "vars: {lr: .}",
)  # fmt: skip

Case = tuple[str, Callable[[], None]]


def cases(seed: int) -> Iterator[Case]:
    """Broken recipes without end; the same ones for a seed. A case ends normally, or says what is wrong."""
    chance = random.Random(seed)
    number = 0
    while True:
        number += 1
        name, text, options = _one(chance)
        mode = chance.choice(("print_config", "print_config", "dry_run"))
        layer = chance.choice(TEXTS) if chance.random() < 0.1 else None
        yield f"{number}: {name}", _case(text, layer, tuple(options), mode)


def _one(chance: random.Random) -> tuple[str, str, list[str]]:
    base = copy.deepcopy(chance.choice((FLAT, FLAT, PLAIN, STAGES, STUDY)))
    kind = chance.choice(("value", "value", "value", "class", "key", "reference", "option", "text", "lost", "several"))
    options: list[str] = []
    match kind:
        case "text":
            text = chance.choice(TEXTS)
            whole = yaml.safe_dump(base, sort_keys=False)
            return f"text {text[:40]!r}", text if chance.random() < 0.5 else f"{whole}{text}\n", options
        case "option":
            options = [chance.choice(OPTIONS) for _ in range(chance.randint(1, 2))]
            name = f"options {options}"
        case "several":
            parts = [_broken(base, chance, chance.choice(("value", "class", "key", "lost"))) for _ in range(2)]
            name = "; ".join(parts)
        case _:
            name = _broken(base, chance, kind)
    return name, yaml.safe_dump(base, sort_keys=False), options


def _broken(base: Any, chance: random.Random, kind: str) -> str:
    """Change one place of a document."""
    places = list(_places(base, ()))
    path = chance.choice(places)
    if kind == "class":
        classes = [place for place in places if place[-1] == "class_path"]
        path = chance.choice(classes or places)
    owner = base
    for part in path[:-1]:
        owner = owner[part]
    last = path[-1]
    match kind:
        case "value":
            owner[last] = chance.choice(VALUES)
        case "class":
            owner[last] = chance.choice(CLASSES)
        case "reference":
            owner[last] = chance.choice(REFERENCES)
        case "lost":
            del owner[last]
            return f"without {path}"
        case _:
            value = copy.deepcopy(owner[last])
            key = chance.choice(
                (None, 1, True, 1.5, "", "a.b", f"{last}s", str(last).upper(), datetime.date(2024, 1, 1))
            )
            if isinstance(owner, dict):
                owner[key] = value
            else:
                owner.append(value)
            return f"{path} also as {key!r}"
    return f"{path} is {owner[last]!r:.60}"


def _places(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from _places(inner, (*path, key))


def _case(text: str, layer: str | None, options: tuple[str, ...], mode: Any) -> Callable[[], None]:
    def run() -> None:
        with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(io.StringIO()):
            folder = Path(name)
            files = [folder / "recipe.yaml"] if layer is None else [folder / "recipe.yaml", folder / "layer.yaml"]
            for file, content in zip(files, (text, layer or ""), strict=False):
                file.write_text(content, encoding="utf-8")
            launch(Options(tuple(files), options, folder / "out", mode=mode))

    return run
