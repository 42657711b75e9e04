"""Small weights: what they take, what they cost in quality and in time.

    python benchmarks/quantize.py --per_family 288
    python benchmarks/quantize.py --kinds none int8 --per_family 48 --repeats 5

Memory: of the weights of the released sizes, transformer and language model, counted without making them. Quality: the
shipped micro model's exact shares on held-out tasks, same noise each time. Time: of one batch of the micro model, and
of one matrix of the released widths in bfloat16; the kinds take turns, and the fastest of all turns counts.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from typing import get_args

import torch
from micro_quality import SAMPLING, TOGETHER, held_out, measured, requests
from torch import nn

from omnigen2.dit import variants
from omnigen2.encoders import SPECIAL_TOKENS, random_vlm
from omnigen2.files import markdown_table
from omnigen2.generate import Generator, Sizes
from omnigen2.microworld import MICRO_MODEL
from omnigen2.quantize import Quantization, quantize, stored_bytes

ROWS, INPUTS, OUTPUTS = 300, 2520, 10240


def released_bytes(kind: Quantization) -> tuple[int, int]:
    """Bytes of the transformer's and of the language model's weights, in bfloat16 or quantised beside it."""
    sizes, ids = Sizes(), {token: number for number, token in enumerate(SPECIAL_TOKENS)}
    with torch.device("meta"):
        transformer = variants.omnigen2_4b()
        vlm = random_vlm(sizes.text, sizes.vision, ids, True, 0)
    quantize(transformer, kind, ("modulation",), dtype=torch.bfloat16)
    quantize(vlm, kind, dtype=torch.bfloat16)
    return stored_bytes(transformer), stored_bytes(vlm)


def fastest(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Seconds of each call at best; they take turns."""
    best = [float("inf")] * len(calls)
    for _ in range(repeats):
        for number, call in enumerate(calls):
            start = time.perf_counter()
            call()
            best[number] = min(best[number], time.perf_counter() - start)
    return best


def products(kind: Quantization) -> Callable[[], object]:
    """A product with a matrix of the released widths."""
    model = nn.Sequential(nn.ModuleList([nn.Linear(INPUTS, OUTPUTS, bias=False)])).bfloat16()
    quantize(model, kind)
    x = torch.randn(ROWS, INPUTS, dtype=torch.bfloat16)
    layer = model.get_submodule("0.0").eval()
    return torch.no_grad()(lambda: layer(x))


def main() -> None:
    """Measure every kind against none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=get_args(Quantization), default=list(get_args(Quantization)))
    parser.add_argument("--per_family", type=int, default=288, help="0 for no pictures")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kinds: list[Quantization] = arguments.kinds
    memory = [released_bytes(kind) for kind in kinds]
    generators = [Generator.from_folder(MICRO_MODEL, dtype=torch.float32, quantize=kind) for kind in kinds]
    asked = requests(held_out(max(1, min(arguments.per_family, TOGETHER // 3))))[:TOGETHER]
    batches = fastest([lambda one=one: one.many(asked, SAMPLING) for one in generators], arguments.repeats)
    matrices = fastest([products(kind) for kind in kinds], 3 * arguments.repeats)
    columns = {
        "transformer": [f"{a / memory[0][0]:.3f}" for a, _ in memory],
        "language model": [f"{b / memory[0][1]:.3f}" for _, b in memory],
        "both": [f"{sum(one) / sum(memory[0]):.3f}" for one in memory],
        "micro time": [f"{one / batches[0]:.2f}" for one in batches],
        "matrix time": [f"{one / matrices[0]:.2f}" for one in matrices],
    }
    for number, generator in enumerate(generators if arguments.per_family else ()):
        found = measured(lambda some, g=generator: [one.image for one in g.many(some, SAMPLING)], arguments.per_family)
        for name, value in found.items():
            if name != "seconds":
                columns.setdefault(name, ["–"] * len(kinds))[number] = f"{value:.3f}"
    print(
        markdown_table(
            ["weights", *columns], [[kind, *map(str, row)] for kind, *row in zip(kinds, *columns.values(), strict=True)]
        )
    )


if __name__ == "__main__":
    main()
