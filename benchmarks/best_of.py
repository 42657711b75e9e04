"""What choosing the best of N by the world's rules gains: captions of the shipped micro model, same tasks and noise.

    OMP_NUM_THREADS=1 python benchmarks/best_of.py --tasks 288 --most 4

The exact share of the first picture of each caption, and of the best of 2, 3, … by the graded reward that
`omnigen2 generate --best_of N --judge rules` chooses by; guided, and without guidance, where there is more room. The
chooser is the judge here, so this is what a perfect one would gain. The last line is one JSON object.
"""

import argparse
import json
from dataclasses import replace

import torch
from micro_quality import MICRO_MODEL, SAMPLING, TOGETHER, TOLERANCE, held_out, requests

from omnigen2.files import markdown_table
from omnigen2.generate import Generator, Request, Sampling
from omnigen2.microworld.tasks import MicroGenEvalReward, to_json
from omnigen2.pictures import to_pixels
from omnigen2.rl import RewardRequest, check_scores


def scores(generator: Generator, asked: list[Request], sampling: Sampling) -> list[float]:
    """The graded reward of one picture of each request; 1 is without a fault."""
    reward, found = MicroGenEvalReward("graded", TOLERANCE), []
    for first in range(0, len(asked), TOGETHER):
        pictures = generator.many(asked[first : first + TOGETHER], sampling)
        judged = [RewardRequest(one.request.prompt, to_pixels(one.image), (), one.request.meta) for one in pictures]
        found += check_scores(reward, judged, reward.score(judged)).value.tolist()
    return found


def main() -> None:
    """Print a table for each number of pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=288)
    parser.add_argument("--most", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    generator = Generator.from_folder(MICRO_MODEL, dtype=torch.float32)
    tasks = held_out(arguments.tasks)[: arguments.tasks]
    asked = [replace(one, meta=to_json(task)) for one, task in zip(requests(tasks), tasks, strict=True)]
    ways = {"guided, scale 2": SAMPLING, "not guided": replace(SAMPLING, text_scale=1.0)}
    exact: dict[str, list[float]] = {}
    for name, sampling in ways.items():
        best, exact[name] = torch.zeros(len(asked)), []
        for turn in range(arguments.most):
            seeded = [replace(one, seed=(one.seed or 0) + turn * len(asked)) for one in asked]
            best = torch.maximum(best, torch.tensor(scores(generator, seeded, sampling)))
            exact[name].append(float((best == 1).float().mean()))
    heads = ["drawn", *(f"best of {number}" for number in range(1, arguments.most + 1))]
    print(markdown_table(heads, [[name, *(f"{share:.3f}" for share in own)] for name, own in exact.items()]))
    print(json.dumps({f"{name}, best of {n}": share for name, own in exact.items() for n, share in enumerate(own, 1)}))


if __name__ == "__main__":
    main()
