"""What reuse between steps saves and what it costs: the shipped micro model, 28 guided steps, same tasks and noise.

    OMP_NUM_THREADS=1 python benchmarks/caches.py --per_family 288
    OMP_NUM_THREADS=1 python benchmarks/caches.py --per_family 48 --only forecast taylorseer

Exact shares of each family, texture, how many times fewer blocks were computed, and how many times less processor time
the denoising took than without reuse (processes beside this one do not count). `official` is TaylorSeer as the official
code extrapolates, here on velocities; `fitted_teacache` goes by a polynomial that `calibrate` fits to 48 other tasks.
The last line is one JSON object.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import torch
from micro_quality import MICRO_MODEL, SAMPLING, held_out, measured, requests
from PIL.Image import Image

from omnigen2.dit.cache import Cache, Count, FirstBlockCache, ForecastCache, GuidanceReuse, TaylorSeer, TeaCache
from omnigen2.generate import Generator, Models, Request, Sampling, calibrate, denoise

Way = tuple[Cache | None, GuidanceReuse | None]
WAYS: dict[str, Way] = {
    "none": (None, None),
    "official_3": (TaylorSeer(interval=3, order=2, warm_up=3, official=True), None),
    "taylorseer_2": (TaylorSeer(interval=2), None),
    "taylorseer_3": (TaylorSeer(interval=3), None),
    "first_block_0.1": (FirstBlockCache(threshold=0.1), None),
    "teacache_0.1": (TeaCache(threshold=0.1), None),
    "teacache_0.15": (TeaCache(threshold=0.15), None),
    "fitted_teacache_0.1": (TeaCache(threshold=0.1), None),
    "fitted_teacache_0.2": (TeaCache(threshold=0.2), None),
    "fitted_teacache_0.3": (TeaCache(threshold=0.3), None),
    "forecast_0.05": (ForecastCache(threshold=0.05), None),
    "forecast_0.1": (ForecastCache(threshold=0.1), None),
    "forecast_0.15": (ForecastCache(threshold=0.15), None),
    "guidance_2": (None, GuidanceReuse(interval=2)),
    "first_block_0.1_guidance_2": (FirstBlockCache(threshold=0.1), GuidanceReuse(interval=2)),
    "forecast_0.1_guidance_2": (ForecastCache(threshold=0.1), GuidanceReuse(interval=2)),
}


def tried(drawing: Generator, way: Way, per_family: int) -> dict[str, float]:
    """Shares, blocks saved, and seconds of denoising."""
    cache, reuse = way
    spent, drawing.count = 0.0, Count()

    def timed(*arguments: Any) -> Any:
        nonlocal spent
        start = time.process_time()
        latents = denoise(*arguments)
        spent += time.process_time() - start
        return latents

    def draw(asked: Sequence[Request]) -> list[Image]:
        return [picture.image for picture in drawing.many(asked, SAMPLING)]

    with (
        patch.object(sys.modules[Models.__module__], "denoise", timed),
        patch.object(Sampling, "make_cache", return_value=cache),
        patch.object(Sampling, "guidance_reuse", return_value=reuse),
    ):
        found = measured(draw, per_family)
    return {**found, "saved": drawing.count.saved, "seconds": spent}


def fitted(drawing: Generator, way: Way) -> Way:
    """The same with a polynomial that is fitted to drawings of other tasks."""
    cache, reuse = way
    asked = requests(held_out(16, seed=2))
    fit = calibrate(drawing, asked, SAMPLING, batch_size=len(asked)).fit
    print(f"fit: explained {fit.explained:.3f}, error {fit.error:.4f}, changes {fit.pairs} from {fit.span}", flush=True)
    return replace(cast(TeaCache, cache), coefficients=fit.coefficients, span=fit.span), reuse


def main() -> None:
    """Measure all ways, or some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=MICRO_MODEL)
    parser.add_argument("--per_family", type=int, default=48)
    parser.add_argument("--only", nargs="*", default=list(WAYS), help="beginnings of names")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    drawing = Generator.from_folder(arguments.model)
    results: dict[str, dict[str, float]] = {}
    seconds: dict[str, float] = {}
    for name, way in WAYS.items():
        if name == "none" or name.startswith(tuple(arguments.only)):
            way = fitted(drawing, way) if name.startswith("fitted") else way
            found = tried(drawing, way, arguments.per_family)
            seconds[name] = found.pop("seconds")
            results[name] = {**found, "faster": seconds["none"] / seconds[name]}
            print(f"{name:28s}", *(f"{key} {value:.4f}" for key, value in results[name].items()), flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
