"""Kills commands at random moments and gives them again until they are done: is all as if nothing had happened?

    python benchmarks/kills.py --kills 20 --out FOLDER

For each form of a recipe (one run, stages, a study, reinforcement learning) a small one of this repository is first run
without a stop. Then the same command is started again and again; SIGKILL ends its process, and nothing else, after a
random time. When it has come to its end it starts over in a new folder, until there were enough kills. Whatever is left
in the folders in the end must be equal: metrics, tensors of weights and checkpoints bit for bit, pictures, and the
numbers of reports; seconds may differ. Finished runs must not be made again, and no process be left. Needs Linux.
"""

import argparse
import io
import json
import os
import random
import re
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import load_file

from omnigen2.cli import main as omnigen2
from omnigen2.files import markdown_table
from omnigen2.runner.keep import committed_checkpoint, read_metrics

ROOT = Path(__file__).resolve().parents[1]
MICRO, MODEL = ROOT / "recipes/micro", ROOT / "omnigen2/microworld/model"
POINT = {"class_path": "omnigen2.runner.keep.ResumePoint", "init_args": {"every_n_train_steps": "${vars.every}"}}
ONE_THREAD = {"class_path": "omnigen2.training.callbacks.Threads", "init_args": {"number": 1}}
SPEED = {"class_path": "omnigen2.training.callbacks.Throughput"}
EMA = {"class_path": "omnigen2.training.callbacks.EMA", "init_args": {"decay": 0.9}}
GRID = {"class_path": "omnigen2.training.callbacks.SampleGrid", "init_args": {"every_n_steps": 4}}
FEW = {"per_kind": 1, "tolerance": 0.3, "shown": 2, "before": "${vars.before}"}
SCORES = {"class_path": "omnigen2.microworld.runs.MicroEvaluation", "init_args": FEW}
QUICK = {"init_args": {"drawing": {"sampling": {"steps": 2}}}}
TRAINED = {
    "vars": {"every": 3, "steps": 12, "interval": 4, "before": False},
    "trainer": {"log_every_n_steps": 1, "callbacks": [ONE_THREAD, EMA, POINT, GRID, SCORES]},
    "model": QUICK,
    "data": {"init_args": {"batch_size": 4, "validation": 1}},
}
ALIGNED = {
    "vars": {"every": 4, "steps": 8, "groups": 2, "members": 4, "before": True, "weights": str(MODEL)},
    "trainer": {"callbacks": [ONE_THREAD, POINT, GRID, SCORES]},
    "model": QUICK,
    "data": {"init_args": {"prompts": 64}},
}
TOY = {
    "vars": {"every": 4, "evaluate_every": 10},
    "trainer": {"max_steps": 30, "callbacks": [ONE_THREAD, POINT, SPEED]},
    "data": {"init_args": {"batch_size": 4, "evaluation_size": 8}},
}
FORMS: dict[str, tuple[Path, dict[str, Any], tuple[str, ...]]] = {
    "run": (MICRO / "pretrain_16_t2i.yaml", TRAINED, ()),
    "stages": (MICRO / "rl_curriculum.yaml", ALIGNED, ("--vars.steps=4", "--vars.every=2", "--vars.before=false")),
    "study": (ROOT / "recipes/rope_toy_quick.yaml", TOY, ("--jobs=2",)),
    "rl": (MICRO / "rl_geneval.yaml", ALIGNED, ()),
}
"""The recipe of each form, what makes it small, and options."""
MAY_DIFFER = re.compile("seconds|minutes|throughput|^command$|^weights$")
"""Keys and metrics: times, the words of the command, and hashes of files whose header has no order."""
SHARE = 0.7
"""Of the time from the first run's begin to the end: no start that is killed has trained longer than that."""
LIMIT = 900.0


@dataclass
class Count:
    """What happened to one form."""

    starts: int = 0
    ends: int = 0
    hits: Counter[str] = field(default_factory=Counter[str])
    faults: list[str] = field(default_factory=list[str])


def made(folder: Path) -> Path:
    """Make a new folder."""
    folder.mkdir(parents=True)
    return folder


def start(folder: Path, words: Sequence[str]) -> int:
    """Give the command in a folder, in a process that has the large libraries already; return its number."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.chdir(folder)
        log = os.open("words.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = omnigen2(["run", *words, "--out=out"])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def ended(child: int, seconds: float) -> int | None:
    """Wait for a process; return its exit code, or None if it still runs after some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def finished(child: int) -> int:
    """Wait for a process that is to come to its end; return its exit code."""
    if (code := ended(child, LIMIT)) is None:
        os.kill(child, signal.SIGKILL)
        raise TimeoutError(f"it has not ended in {LIMIT:.0f} seconds")
    return code


def killed(child: int, chance: random.Random, folder: Path, span: float) -> int | None:
    """Kill a process after it has begun to train, one of six times before; return its exit code if it has ended."""
    began, code = time.time(), None
    if chance.random() < 1 / 6:
        code = ended(child, chance.uniform(0, 1))
    else:
        while code is None and not any(path.stat().st_mtime > began for path in settings_of_runs(folder)):
            code = ended(child, 0.02)
        code = ended(child, chance.uniform(0, span)) if code is None else code
    if code is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return code


def settings_of_runs(folder: Path) -> list[Path]:
    """The files that every run writes when it begins or goes on; not that of a whole plan."""
    found = [Path(place, "config.yaml") for place, _, files in os.walk(folder / "out") if "config.yaml" in files]
    return [path for path in found if not re.search("^(study|stages):", path.read_text(), re.MULTILINE)]


def hit(out: Path) -> str:
    """Where a kill has hit, by what it has left."""
    begun = [path.parent for path in out.rglob("config.yaml") if (path.parent / "metrics.csv").exists()]
    open_runs = [folder for folder in begun if not (folder / "run.json").exists()]
    drafts = [path for path in out.rglob(".*.new") if path.parent.name != "checkpoints"]
    if drafts or any((folder / "weights").exists() for folder in open_runs) or any(map(_half_saved, begun)):
        return "while saving"
    if any(committed_checkpoint(folder) is not None for folder in open_runs):
        return "in training"
    return "between runs" if any(out.rglob("run.json")) else "before a checkpoint"


def _half_saved(folder: Path) -> bool:
    known = {committed_checkpoint(folder), folder / "checkpoints/resume.json"}
    return any(path not in known for path in folder.glob("checkpoints/*"))


def left_over(folder: Path, seconds: float = 10.0) -> list[int]:
    """Processes that still work in a folder after some seconds."""
    end = time.monotonic() + seconds
    while (found := list(_working_in(folder))) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def _working_in(folder: Path) -> Iterator[int]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder and "Z" not in (process / "stat").read_text().split()[2]:
                yield int(process.name)
        except OSError:
            continue  # it has ended, or is not ours


def content(file: Path) -> Any:
    """What of a file must be equal."""
    match file.suffix:
        case ".csv":
            return [{key: repr(value) for key, value in _lasting(row).items()} for row in read_metrics(file.parent)]
        case ".json":
            return _lasting(json.loads(file.read_text()))
        case ".safetensors":
            return _bits(load_file(file))
        case ".ckpt":
            saved = torch.load(file, weights_only=True)
            return {key: _bits(saved[key]) for key in ("state_dict", "optimizer_states", "lr_schedulers", "loops")}
        case ".md":
            return None  # for people; the JSON beside it has its numbers
        case _:
            return file.read_bytes()


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lasting(inner) for key, inner in value.items() if not MAY_DIFFER.search(str(key))}
    return [_lasting(inner) for inner in value] if isinstance(value, list) else value


def _bits(value: Any) -> Any:
    match value:
        case torch.Tensor():
            return str(value.dtype), tuple(value.shape), value.flatten().view(torch.uint8).numpy().tobytes()
        case dict():
            return {key: _bits(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_bits(inner) for inner in value]
        case _:
            return value


def outcome(out: Path) -> dict[str, Any]:
    """All that is left in a folder and must be equal, by its path."""
    told = ("log.txt", "progress.json", "job.json", "start.json", ".run.lock")
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and path.name not in told)
    return {str(path.relative_to(out)): content(path) for path in files}


def differences(whole: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The files that differ, or are in one of two folders only."""
    return [name for name in sorted({*whole, *other}) if whole.get(name, "none") != other.get(name, "none")]


def tried(form: str, kills: int, chance: random.Random, place: Path) -> Count:
    """Run one form without a stop, then with so many kills."""
    recipe, layer, options = FORMS[form]
    (made(place) / "small.yaml").write_text(yaml.safe_dump(layer))
    words, count = (str(recipe), str(place / "small.yaml"), *options), Count()
    with redirect_stdout(io.StringIO()):
        omnigen2(["run", *words, "--print_config"])  # children have imported all that it takes
    began, folder = time.time(), made(place / "whole")
    if (code := finished(start(folder, words))) != 0:
        count.faults.append(f"{folder} ended with {code}")
        return count
    took, whole = time.time() - began, outcome(folder / "out")
    first = min(path.stat().st_mtime for path in settings_of_runs(folder)) - began
    print(f"{form}: {took:.1f} s and {len(whole)} files without a stop, {first:.1f} s to the first step", flush=True)
    while sum(count.hits.values()) < kills:
        count.ends += 1
        folder, code, done = made(place / f"life_{count.ends:02d}"), None, dict[Path, int]()
        while code is None:
            enough = sum(count.hits.values()) >= kills
            count.starts += 1
            child = start(folder, words)
            code = finished(child) if enough else killed(child, chance, folder, SHARE * (took - first))
            if code is None:
                count.hits[hit(folder / "out")] += 1
            now = {path: path.stat().st_mtime_ns for path in folder.rglob("run.json")}
            count.faults += [f"{path} was made again" for path in done if now.get(path) != done[path]]
            done = now
        if left := left_over(folder):
            count.faults.append(f"{folder}: the processes {left} are left")
        if code:
            count.faults.append(f"{folder} ended with {code}")
        count.faults += [f"{folder / 'out' / name} differs" for name in differences(whole, outcome(folder / "out"))]
        print(f"{form}: ended {count.ends} times, {dict(count.hits)}, {len(count.faults)} faults", flush=True)
    return count


def main() -> int:
    """Try the forms, and print a table; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each form")
    parser.add_argument("--seed", type=int, default=0, help="of the random times")
    parser.add_argument("--forms", default=",".join(FORMS), help="some of them, with commas between")
    parser.add_argument("--out", type=Path, required=True, help="an empty or new folder")
    given = parser.parse_args()
    forms = given.forms.split(",")
    if unknown := [form for form in forms if form not in FORMS]:
        parser.error(f"there is no form {unknown[0]!r}; there are {', '.join(FORMS)}")
    torch.set_num_threads(1)  # threads of this process would be missing in its children
    out, seed = given.out.resolve(), given.seed
    counts = {form: tried(form, given.kills, random.Random(f"{seed} {form}"), out / form) for form in forms}
    where = ("before a checkpoint", "in training", "while saving", "between runs")
    rows = [
        [form, str(sum(one.hits.values())), str(one.starts), str(one.ends), *(str(one.hits[name]) for name in where),
         "NO" if one.faults else "yes"]
        for form, one in counts.items()
    ]  # fmt: skip
    print(markdown_table(["form", "kills", "starts", "ends", *where, "equal"], rows))
    faults = [fault for one in counts.values() for fault in one.faults]
    print(*faults, sep="\n")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
