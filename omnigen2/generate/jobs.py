"""What there is to draw: one prompt several times, or a file of prompts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from omnigen2.encoders import ChatTokenizer
from omnigen2.errors import UserError, user_errors
from omnigen2.files import JsonLine, check_most, read_json_lines
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.picture import asked_for, check_picture_name, read_parameters
from omnigen2.generate.plan import Planner
from omnigen2.generate.request import FARTHEST, MOST_IMAGES, Request, Sampling

TYPES: Mapping[str, tuple[type, ...]] = {
    "prompt": (str,),
    "images": (list,),
    "height": (int,),
    "width": (int,),
    "negative_prompt": (str,),
    "seed": (int,),
    "steps": (int,),
    "text_scale": (int, float),
    "image_scale": (int, float),
    "guidance_interval": (list,),
    "solver": (str,),
    "time_shift": (int, float),
    "cache": (str,),
    "cache_threshold": (int, float),
    "cache_interval": (int,),
    "guidance_every": (int,),
    "out": (str,),
    "meta": (str,),
}
"""Keys of a line, and what JSON may hold there."""
REUSE = {"cache": "none", "cache_threshold": None, "cache_interval": None, "guidance_every": 1}
"""How pictures were drawn that say nothing of it."""
LONGEST_NAME = 240
"""Bytes of a file's name; most file systems take 255, and drafts have longer names."""


@dataclass(frozen=True)
class Job:
    """One picture to draw, and the file that it is written to.

    Attributes:
        where: The file and line that ask for it; empty where it was asked for otherwise.
    """

    out: Path
    request: Request
    sampling: Sampling
    where: str = ""

    def done(
        self, model: str, adapters: tuple[str, ...], best_of: int = 1, chosen_by: str = "", dtype: str = ""
    ) -> bool:
        """Whether the picture is there: files take their name only when they are whole.

        Args:
            model: Name of the model, as pictures tell it.
            adapters: Names of its adapters, as pictures tell them.
            best_of: Of how many pictures it was to be chosen.
            chosen_by: The judge that was to choose, as pictures tell it.
            dtype: What the model works in; empty if any will do.

        Raises:
            GenerateError: If there is another file of this name, or a picture that was drawn otherwise.
        """
        if not self.out.exists():
            return False
        found = {"best_of": 1, "chosen_by": "", **REUSE, **read_parameters(self.out)}
        if found["best_of"] != 1 and isinstance(choice := found.get("choice"), dict):
            found["seed"] = cast(dict[str, Any], choice).get("first_seed")
        wanted = asked_for(self.request, self.sampling, model, adapters, dtype)
        wanted |= {"best_of": best_of, "chosen_by": chosen_by}
        for key, value in json.loads(json.dumps(wanted)).items():
            if (value is not None or key in REUSE) and key in found and found[key] != value:
                at = f"{self.where}: " if self.where else ""
                raise GenerateError(
                    f"{at}{self.out} is there already, drawn with {key} {found[key]!r} in place of {value!r}",
                    "write into another folder",
                    {"overwrite": "draw it again with {}"},
                )
        return True


def jobs_of_prompt(request: Request, sampling: Sampling, out: Path, num_images: int, spread: int = 1) -> list[Job]:
    """One prompt, once or several times.

    Args:
        request: With a seed.
        sampling: How it is sampled.
        out: The file; of several, `out-1.png`, `out-2.png`, …
        num_images: How often.
        spread: From one seed to the next.

    Raises:
        GenerateError: If the number is below 1.
    """
    check_most("num_images", num_images, MOST_IMAGES, GenerateError)
    if num_images < 1:
        raise GenerateError(f"--num_images must be at least 1, got {num_images}", "ask for one picture or more")
    if num_images == 1:
        return [Job(out, request, sampling)]
    first = request.seed or 0
    return [
        Job(out.with_stem(f"{out.stem}-{n + 1}"), replace(request, seed=first + n * spread), sampling)
        for n in range(num_images)
    ]


def jobs_of_file(path: Path, folder: Path, defaults: Mapping[str, Any], spread: int = 1) -> list[Job]:
    """One job per line of a file.

    Args:
        path: JSON lines: `{"prompt": …}` and any of `images` (paths, seen from the file's folder), `height`,
            `width`, `negative_prompt`, `seed`, `meta`, `out` (name in `folder`) and the keywords of `Sampling`.
        folder: Where pictures are written; without `out`, line n becomes `0000n.png`.
        defaults: For keys that a line leaves out. The seeds of lines without one count up from the default's.
        spread: From the seed of one line to that of the next.

    Raises:
        GenerateError: If the file is missing or empty, a line is wrong, or two lines write one file.
    """
    lines = read_json_lines(path, GenerateError)
    if not lines:
        raise GenerateError(f"{path} has no prompts", 'write lines such as {"prompt": "a red cube"}')
    jobs: dict[Path, Job] = {}
    for line in lines:
        _check(line)
        job = _job(line, folder, defaults, spread)
        if job.out in jobs:
            raise GenerateError(f"{line.where} writes {job.out.name} a second time", "give each line its own out")
        jobs[job.out] = job
    for job in jobs.values():
        if above := next((path for path in job.out.parents if path in jobs or path.is_file()), None):
            raise GenerateError(f"{job.where} writes {job.out}, but {above} is a file", "give it another out")
    return list(jobs.values())


def check_jobs(jobs: Sequence[Job], planner: Planner, tokenizer: ChatTokenizer) -> None:
    """Look at every request, then open every picture and count the tokens of every prompt.

    Raises:
        UserError: If something cannot be drawn; it is told with the job's place.
    """

    def read(request: Request) -> None:
        plan = planner(request)
        with user_errors():
            tokenizer.drawings([request.prompt], [plan.references])
            tokenizer.drawings([request.negative_prompt])

    for check in (planner.check, read):
        for job in jobs:
            try:
                check(job.request)
            except UserError as error:
                raise (error.at(job.where) if job.where else error) from error


def batches(jobs: Sequence[Job], size: int) -> Iterator[tuple[Job, ...]]:
    """Neighbouring jobs that can be drawn together.

    Yields:
        At most `size` jobs that share their sampling.

    Raises:
        GenerateError: If the size is below 1.
    """
    check_most("batch_size", size, MOST_IMAGES, GenerateError)
    if size < 1:
        raise GenerateError(f"--batch_size must be at least 1, got {size}", "1 needs the least memory")
    for _, group in groupby(jobs, key=lambda job: job.sampling):
        together = tuple(group)
        for start in range(0, len(together), size):
            yield together[start : start + size]


def _check(line: JsonLine) -> None:
    for key, value in line.value.items():
        if key not in TYPES:
            raise GenerateError(f"{line.where} has the unknown key {key!r}", f"known keys: {', '.join(TYPES)}")
        if not isinstance(value, TYPES[key]) or isinstance(value, bool):
            names = " or ".join(kind.__name__ for kind in TYPES[key])
            raise GenerateError(f"{line.where}: {key} is {value!r}", f"expected {names}")
        if float in TYPES[key] and abs(value) > FARTHEST:  # whole numbers of JSON can be larger than any float
            raise GenerateError(f"{line.where}: {key} is {value!r:.40}", "expected a smaller number")
    if "prompt" not in line.value:
        raise GenerateError(f"{line.where} has no prompt", 'write {"prompt": …}')


def _job(line: JsonLine, folder: Path, defaults: Mapping[str, Any], spread: int) -> Job:
    settings = {**defaults, **line.value}
    settings["seed"] = line.value.get("seed", defaults.get("seed", 0) + (line.number - 1) * spread)
    name = settings.pop("out", f"{line.number:05d}.png")
    out = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise GenerateError(f"{line.where} writes outside the output folder: {name}", "use a name inside it")
    if not name.isprintable() or any(len(part.encode()) > LONGEST_NAME for part in Path(name).parts):
        raise GenerateError(
            f"{line.where} writes {name[:80]!r}, which is no name of a file",
            f"use letters, at most {LONGEST_NAME} bytes of them",
        )
    if "guidance_interval" in settings:
        settings["guidance_interval"] = _pair(settings["guidance_interval"], line.where)
    paths = settings.pop("images", [])
    if not all(isinstance(path, str) for path in paths):
        raise GenerateError(f"{line.where}: images is {paths!r}", "expected paths")
    images = tuple(line.path.parent / path for path in paths)
    for path in images:
        if not _is_file(path):
            raise GenerateError(f"{line.where}: there is no image file {path}", "paths are seen from the file's folder")
    own = {field.name for field in fields(Sampling)}
    sampling = {key: value for key, value in settings.items() if key in own}
    request = {key: value for key, value in settings.items() if key not in own}
    try:
        check_picture_name(out)
        return Job(out, Request(images=images, **request), Sampling(**sampling), line.where)
    except GenerateError as error:
        raise error.at(line.where) from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that no file can have
        return False


def _pair(values: Sequence[Any], where: str) -> tuple[float, float]:
    if len(values) != 2 or not all(type(value) in (int, float) for value in values):
        raise GenerateError(f"{where}: guidance_interval is {list(values)!r}", "expected two fractions, [0, 1]")
    return float(values[0]), float(values[1])
