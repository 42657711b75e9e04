"""What each way of sampling does to the same pictures: a sheet of the shipped micro model and of a random tiny one.

    python benchmarks/sampling_pictures.py --student runs/distill_steps/weights --out docs/sampling/parts.png

Held-out captions, edits and in-context tasks with the seeds that `micro_quality.py` gives them; under each row the
number of pictures without a fault by the rules (the tiny model is not trained: its pictures show differences alone).
Two rows are failures on purpose: a threshold that is too loose, and 4 bits for a model whose widths are too small.
"""

import argparse
import io
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from micro_quality import MICRO_MODEL, SAMPLING, SIZE, TOLERANCE, held_out, requests, shares
from PIL import Image

from omnigen2.generate import Generator, Request, Sampling, make_tiny
from omnigen2.microworld.tasks import (
    FAMILIES,
    DrawingTask,
    MicroContextReward,
    MicroEditReward,
    MicroGenEvalReward,
    to_json,
)
from omnigen2.pictures import Panel, Section, sheet_png, to_pixels
from omnigen2.quantize import Quantization
from omnigen2.rl import Reward, RewardRequest

PER_FAMILY, UNTAUGHT = 3, 4
CACHES = {
    "every step": SAMPLING,
    "--cache forecast": replace(SAMPLING, cache="forecast"),
    "--cache taylorseer": replace(SAMPLING, cache="taylorseer"),
    "--cache teacache --cache_threshold 0.5 (too loose)": replace(SAMPLING, cache="teacache", cache_threshold=0.5),
}
KINDS: tuple[Quantization, ...] = ("int8", "nf4")
REWARDS: dict[str, Reward] = {
    "text_to_image": MicroGenEvalReward("graded", TOLERANCE),
    "edit": MicroEditReward(TOLERANCE),
    "in_context": MicroContextReward(TOLERANCE),
}


def drawn(generator: Generator, asked: Sequence[Request], sampling: Sampling | None) -> list[Image.Image]:
    """The pictures; what a way has no use for is no matter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [one.image for one in generator.many(asked, sampling)]


def best(
    generator: Generator, tasks: Sequence[DrawingTask], asked: Sequence[Request], number: int
) -> list[Image.Image]:
    """Of each task the best of so many pictures, by the world's rules."""
    turns = [
        drawn(generator, [replace(one, seed=(one.seed or 0) + turn * len(asked)) for one in asked], SAMPLING)
        for turn in range(number)
    ]
    chosen: list[Image.Image] = []
    for task, request, pictures in zip(tasks, asked, zip(*turns, strict=True), strict=True):
        shown = tuple(to_pixels(image) for image in request.images if isinstance(image, Image.Image))
        judged = [RewardRequest(request.prompt, to_pixels(one), shown, to_json(task)) for one in pictures]
        chosen.append(pictures[int(REWARDS[task.family].score(judged).value.argmax())])
    return chosen


def panel(name: str, tasks: Sequence[DrawingTask] | None, pictures: Sequence[Image.Image]) -> Panel:
    """One row; of the model that nobody taught, fewer pictures."""
    verdict, pictures = "", pictures if tasks else pictures[:UNTAUGHT]
    if tasks is not None:
        found = shares(tasks, pictures)
        right = round(sum(PER_FAMILY * found[family] for family in FAMILIES))
        verdict = f"{right} of {len(tasks)} without a fault"
    return Panel(name, tuple(("", to_pixels(one)) for one in pictures), "", verdict)


def main() -> None:
    """Draw all rows, and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", type=Path, help="its folder; no such row if it is left out")
    parser.add_argument("--out", type=Path, default=Path("docs/sampling/parts.png"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    tasks = held_out(PER_FAMILY)
    asked = requests(tasks)
    sections: list[Section] = []
    with tempfile.TemporaryDirectory() as folder:
        make_tiny(Path(folder) / "tiny")
        for heading, path, judged in (
            (f"The micro model, {SIZE} x {SIZE}, 28 guided steps", MICRO_MODEL, tasks),
            ("make-tiny: random weights", Path(folder) / "tiny", None),
        ):
            generator = Generator.from_folder(path, dtype=torch.float32)
            rows = [panel(name, judged, drawn(generator, asked, how)) for name, how in CACHES.items()]
            if judged and arguments.student:
                student = Generator.from_folder(arguments.student, dtype=torch.float32)
                rows.append(panel("a student, 4 steps of one branch", judged, drawn(student, asked, None)))
            for kind in KINDS:
                small = Generator.from_folder(path, dtype=torch.float32, quantize=kind)
                rows.append(panel(f"--quantize {kind}", judged, drawn(small, asked, SAMPLING)))
            if judged:
                rows.append(panel("--best_of 4, by the world's rules", judged, best(generator, judged, asked, 4)))
            if judged:
                words = "; ".join(f"{number}: {one.prompt}" for number, one in enumerate(asked, 1))
                rows[0] = replace(rows[0], text=words)
            sections.append(Section(heading, tuple(rows)))
    sheet = Image.open(io.BytesIO(sheet_png("", sections))).convert("RGB")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    sheet.reduce(2).quantize(128).save(arguments.out, optimize=True)
    print(f"wrote {arguments.out}, {arguments.out.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
