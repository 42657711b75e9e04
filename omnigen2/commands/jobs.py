"""What `omnigen2 generate` has to draw: from its options, or from a file of prompts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from omnigen2.generate import GenerateError, Request, Sampling, check_png_name

TYPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
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
        "out": (str,),
    }
)
"""Keys of a line, and what JSON may hold there."""


@dataclass(frozen=True)
class Job:
    """One picture to draw.

    Attributes:
        out: The file to write.
        request: What is asked for.
        sampling: How it is sampled.
    """

    out: Path
    request: Request
    sampling: Sampling

    @property
    def done(self) -> bool:
        """Whether the file is there: files take their name only when they are whole."""
        return self.out.exists()


def jobs_of_prompt(request: Request, sampling: Sampling, out: Path, num_images: int) -> list[Job]:
    """One prompt, once or several times.

    Args:
        request: With a seed.
        sampling: How it is sampled.
        out: The file; of several, `out-1.png`, `out-2.png`, …
        num_images: How often, each time with the next seed.

    Returns:
        As many jobs.

    Raises:
        GenerateError: If the number is below 1.
    """
    if num_images < 1:
        raise GenerateError(f"--num_images must be at least 1, got {num_images}", "ask for one picture or more")
    if num_images == 1:
        return [Job(out, request, sampling)]
    first = request.seed or 0
    return [
        Job(out.with_stem(f"{out.stem}-{n + 1}"), replace(request, seed=first + n), sampling) for n in range(num_images)
    ]


def jobs_of_file(path: Path, folder: Path, defaults: Mapping[str, Any]) -> list[Job]:
    """One job per line of a file.

    Args:
        path: JSON lines: `{"prompt": …}` and any of `images` (paths, seen from the file's folder), `height`,
            `width`, `negative_prompt`, `seed`, `out` (name in `folder`) and the keywords of `Sampling`.
        folder: Where pictures are written; without `out`, line n becomes `0000n.png`.
        defaults: For keys that a line leaves out. The seeds of lines without one count up from the default's.

    Returns:
        The jobs.

    Raises:
        GenerateError: If the file is missing or empty, a line is wrong, or two lines write one file.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise GenerateError(f"there is no file {path}", "check the path") from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise GenerateError(f"{path} is no text file", "expected one JSON object per line, in UTF-8") from error
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise GenerateError(f"{path} has no prompts", 'write lines such as {"prompt": "a red cube"}')
    jobs: dict[Path, Job] = {}
    for number, line in numbered:
        where = f"{path}, line {number}"
        job = _job(_content(line, where), where, number, path.parent, folder, defaults)
        if job.out in jobs:
            raise GenerateError(f"{where} writes {job.out.name} a second time", "give each line its own out")
        jobs[job.out] = job
    return list(jobs.values())


def batches(jobs: Sequence[Job], size: int) -> Iterator[tuple[Job, ...]]:
    """Neighbouring jobs that can be drawn together.

    Args:
        jobs: To be drawn.
        size: Most of one batch, at least 1.

    Yields:
        Jobs that share their sampling.

    Raises:
        GenerateError: If the size is below 1.
    """
    if size < 1:
        raise GenerateError(f"--batch_size must be at least 1, got {size}", "1 needs the least memory")
    for _, group in groupby(jobs, key=lambda job: job.sampling):
        together = tuple(group)
        for start in range(0, len(together), size):
            yield together[start : start + size]


def _content(line: str, where: str) -> dict[str, Any]:
    try:
        content = json.loads(line)
    except json.JSONDecodeError as error:
        raise GenerateError(f"{where} is not JSON: {error}", "write one JSON object per line") from error
    if not isinstance(content, dict):
        raise GenerateError(f"{where} is a JSON {type(content).__name__}", 'expected an object, {"prompt": …}')
    named = cast(dict[str, Any], content)
    for key, value in named.items():
        if key not in TYPES:
            raise GenerateError(f"{where} has the unknown key {key!r}", f"known keys: {', '.join(TYPES)}")
        if not isinstance(value, TYPES[key]) or isinstance(value, bool):
            names = " or ".join(kind.__name__ for kind in TYPES[key])
            raise GenerateError(f"{where}: {key} is {value!r}", f"expected {names}")
    if "prompt" not in named:
        raise GenerateError(f"{where} has no prompt", 'write {"prompt": …}')
    return named


def _job(line: dict[str, Any], where: str, number: int, images: Path, folder: Path, defaults: Mapping[str, Any]) -> Job:
    settings = {**defaults, **line}
    settings["seed"] = line.get("seed", defaults.get("seed", 0) + number - 1)
    name = settings.pop("out", f"{number:05d}.png")
    out = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise GenerateError(f"{where} writes outside the output folder: {name}", "use a name inside it")
    if "guidance_interval" in settings:
        settings["guidance_interval"] = _pair(settings["guidance_interval"], where)
    paths = settings.pop("images", [])
    if not all(isinstance(path, str) for path in paths):
        raise GenerateError(f"{where}: images is {paths!r}", "expected paths")
    found = tuple(images / path for path in paths)
    for path in found:
        if not path.is_file():
            raise GenerateError(f"{where}: there is no image file {path}", "paths are seen from the file's folder")
    own = {field.name for field in fields(Sampling)}
    sampling = {key: value for key, value in settings.items() if key in own}
    request = {key: value for key, value in settings.items() if key not in own}
    try:
        check_png_name(out)
        return Job(out, Request(images=found, **request), Sampling(**sampling))
    except GenerateError as error:
        problem, _, remedy = str(error).partition("\n")
        raise GenerateError(f"{where}: {problem}", remedy) from error


def _pair(values: Sequence[Any], where: str) -> tuple[float, float]:
    if len(values) != 2 or not all(isinstance(value, int | float) for value in values):
        raise GenerateError(f"{where}: guidance_interval is {list(values)!r}", "expected two fractions, [0, 1]")
    return float(values[0]), float(values[1])
