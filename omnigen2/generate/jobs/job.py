"""One picture to draw, and several of them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, cast

from omnigen2.encoders import ChatTokenizer
from omnigen2.errors import UserError, user_errors
from omnigen2.files import check_most
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.picture import asked_for, read_parameters
from omnigen2.generate.plan import Planner
from omnigen2.generate.request import MOST_IMAGES, Request, Sampling

REUSE = {
    "cache": "none",
    "cache_threshold": None,
    "cache_interval": None,
    "guidance_every": 1,
    "cache_polynomial": None,
}
"""How pictures were drawn that say nothing of it."""


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
        self,
        model: str,
        adapters: tuple[str, ...],
        best_of: int = 1,
        chosen_by: str = "",
        dtype: str = "",
        polynomial: Sequence[float] = (),
    ) -> bool:
        """Whether the picture is there: files take their name only when they are whole.

        Args:
            model: Name of the model, as pictures tell it.
            adapters: Names of its adapters, as pictures tell them.
            best_of: Of how many pictures it was to be chosen.
            chosen_by: The judge that was to choose, as pictures tell it.
            dtype: What the model works in; empty if any will do.
            polynomial: By which the model's cache `"teacache"` decides.

        Raises:
            GenerateError: If there is another file of this name, or a picture that was drawn otherwise.
        """
        if not self.out.exists():
            return False
        found = {"best_of": 1, "chosen_by": "", **REUSE, **read_parameters(self.out)}
        if found["best_of"] != 1 and isinstance(choice := found.get("choice"), dict):
            found["seed"] = cast(dict[str, Any], choice).get("first_seed")
        wanted = {"cache_polynomial": None, "best_of": best_of, "chosen_by": chosen_by}
        wanted |= asked_for(self.request, self.sampling, model, adapters, dtype, polynomial)
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
