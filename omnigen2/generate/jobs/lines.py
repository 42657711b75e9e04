"""A file of prompts: one job per line."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from omnigen2.files import JsonLine, read_json_lines
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.jobs.job import Job
from omnigen2.generate.picture import check_picture_name
from omnigen2.generate.request import FARTHEST, Request, Sampling

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
LONGEST_NAME = 240
"""Bytes of a file's name; most file systems take 255, and drafts have longer names."""


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
