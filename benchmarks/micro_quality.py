"""How good the shipped micro model's pictures are, the same tasks and noise each time.

    python benchmarks/micro_quality.py --per_family 288
    python benchmarks/micro_quality.py --model FOLDER --steps 4 --text_scale 1
    OMP_NUM_THREADS=1 python benchmarks/micro_quality.py --model FOLDER --steps 4 --text_scale 1 --turns 5

Held-out captions, edits and in-context tasks of the easy vocabulary, 64 x 64 pixels, seed n for task n, judged by the
world's rules; the share of pictures in which nothing is wrong, and how far plain backgrounds are from flat.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL.Image import Image

from omnigen2.generate import Generator, Request, Sampling, denoise
from omnigen2.microworld import EASY, MICRO_MODEL, draw
from omnigen2.microworld.runs import EXACT, TEXTURE, aggregate, judge_all
from omnigen2.microworld.tasks import FAMILIES, DrawingTask, kinds_of, sample_task
from omnigen2.pictures import to_image, to_pixels

SIZE, TOGETHER, TOLERANCE = 64, 24, 0.3
SAMPLING = Sampling(steps=28, text_scale=2.0)
"""28 guided steps, at the scale the model's own scores are measured with."""
Draw = Callable[[Sequence[Request]], Sequence[Image]]


def held_out(per_family: int, seed: int = 1) -> list[DrawingTask]:
    """As many tasks of each family, its kinds in turn."""
    rng = np.random.default_rng(seed)
    kinds = [
        (family, kinds_of(family, EASY)[number % len(kinds_of(family, EASY))])
        for family in FAMILIES
        for number in range(per_family)
    ]
    return [sample_task(family, kind, EASY, rng) for family, kind in kinds]


def requests(tasks: Sequence[DrawingTask]) -> list[Request]:
    """What is asked for: task n with the seed n."""
    return [
        Request(
            prompt=task.instruction,
            images=tuple(to_image(draw(scene, SIZE)) for scene in task.references),
            height=SIZE,
            width=SIZE,
            seed=number,
        )
        for number, task in enumerate(tasks)
    ]


def shares(tasks: Sequence[DrawingTask], pictures: Sequence[Image]) -> dict[str, float]:
    """Share of pictures without a fault of each family, and the texture of plain backgrounds."""
    judged = judge_all(tasks, torch.stack([to_pixels(picture) for picture in pictures]), TOLERANCE)
    values = aggregate(judged).values()
    return {
        name: values[f"{metric}/overall/{column}"]
        for name, (metric, column) in {**EXACT, "texture": TEXTURE}.items()
        if f"{metric}/overall/{column}" in values
    }


def measured(draw_all: Draw, per_family: int = 288) -> dict[str, float]:
    """Shares of a way to draw, and the seconds it took to draw."""
    tasks = held_out(per_family)
    asked = requests(tasks)
    pictures: list[Image] = []
    start = time.perf_counter()
    for first in range(0, len(asked), TOGETHER):
        pictures += draw_all(asked[first : first + TOGETHER])
    seconds = time.perf_counter() - start  # before the judging
    return {**shares(tasks, pictures), "seconds": seconds}


def times_faster(model: Path, sampling: Sampling, turns: int) -> dict[str, float]:
    """How many times less processor time a batch takes than with the shipped model: the whole call, and denoising.

    They take turns, and the fastest of each counts. A first turn does not count.
    """
    asked = requests(held_out(TOGETHER // len(FAMILIES)))
    ways = [(Generator.from_folder(MICRO_MODEL), SAMPLING), (Generator.from_folder(model), sampling)]
    least, spent = [[math.inf, math.inf] for _ in ways], 0.0

    def timed(*arguments: Any, **more: Any) -> Any:
        nonlocal spent
        start = time.process_time()
        latents = denoise(*arguments, **more)
        spent = time.process_time() - start
        return latents

    with patch.object(sys.modules[Generator.many.__module__], "denoise", timed):
        for turn in range(turns + 1):
            for own, (generator, how) in zip(least, ways, strict=True):
                start = time.process_time()
                generator.many(asked, how)
                whole = time.process_time() - start
                if turn:
                    own[:] = [min(own[0], whole), min(own[1], spent)]
    (whole, inner), (student, few) = least
    return {"call": whole / student, "denoising": inner / few, "denoising_of_call": few / student}


def main() -> None:
    """Measure one model with one way of sampling."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MICRO_MODEL)
    parser.add_argument("--per_family", type=int, default=288)
    parser.add_argument("--steps", type=int, default=SAMPLING.steps)
    parser.add_argument("--text_scale", type=float, default=SAMPLING.text_scale)
    parser.add_argument("--turns", type=int, help="times against the shipped model instead, fastest of so many turns")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sampling = Sampling(steps=arguments.steps, text_scale=arguments.text_scale)
    if arguments.turns:
        print(json.dumps({n: round(x, 2) for n, x in times_faster(arguments.model, sampling, arguments.turns).items()}))
        return
    generator = Generator.from_folder(arguments.model)
    found = measured(lambda asked: [one.image for one in generator.many(asked, sampling)], arguments.per_family)
    print(json.dumps({name: round(value, 4) for name, value in found.items()}))


if __name__ == "__main__":
    main()
