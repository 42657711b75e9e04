"""Tokens per second of a training step, for batches of equal and of very different samples.

    python benchmarks/dit.py

A transformer that pads pays for the longest sample in every row. This one packs, so a token should cost the same
whatever its neighbours are. The two kinds of batch alternate within one run, each batch counts with its fastest step
(so that other programs on the machine matter little). Then what a step keeps for its backward pass. The last line has
the numbers for `against.py`.
"""

import argparse
import dataclasses
import json
import random
import time

import torch
from torch import Tensor

from omnigen2.dit import DiffusionTransformer, Inputs, TransformerConfig
from omnigen2.layout import ImageRole, ImageSegment, Layout, TextSegment

CONFIG = TransformerConfig(
    hidden_size=720,
    num_layers=8,
    num_refiner_layers=2,
    num_heads=6,
    num_kv_heads=2,
    axes=(40, 40, 40),
    in_channels=16,
    text_dim=2048,
)


def ragged(samples: int, draw: random.Random) -> Layout:
    """Texts of 20 to 120 tokens, 0 to 4 references and a target of 64 to 256 tokens (sides of 8 to 16)."""

    def image(role: ImageRole) -> ImageSegment:
        return ImageSegment(draw.randint(8, 16), draw.randint(8, 16), role)

    batch = []
    for _ in range(samples):
        references = [image("reference") for _ in range(draw.randint(0, 4))]
        batch.append((TextSegment(draw.randint(20, 120)), *references, image("target")))
    return Layout(tuple(batch))


def uniform(samples: int) -> Layout:
    """The averages of the ragged batch: text of 70, two references and a target of 144 tokens."""
    image = (12, 12)
    sample = (TextSegment(70), *[ImageSegment(*image, "reference")] * 2, ImageSegment(*image, "target"))
    return Layout((sample,) * samples)


def loss(dit: DiffusionTransformer, layout: Layout, bfloat16: bool) -> Tensor:
    """A loss of random data, whose forward pass runs in float32 or under bfloat16 autocast."""
    text = torch.randn(layout.segments("text").total, dit.config.text_dim)
    references = torch.randn(layout.segments("reference").total, dit.config.patch_channels)
    target = torch.randn(layout.segments("target").total, dit.config.patch_channels)
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        velocity = dit(target, torch.rand(len(layout)), Inputs(layout, text, references))
    return (velocity - target).square().mean()


def step(dit: DiffusionTransformer, optimizer: torch.optim.Optimizer, layout: Layout, bfloat16: bool) -> float:
    """Seconds of one training step."""
    start = time.perf_counter()
    loss(dit, layout, bfloat16).backward()
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - start


def kept(dit: DiffusionTransformer, layout: Layout, bfloat16: bool) -> float:
    """MiB that a forward pass keeps for the backward pass, the weights themselves left out."""
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        value = loss(dit, layout, bfloat16)  # as long as it lives, no storage is used again
    weights = {weight.untyped_storage().data_ptr() for weight in dit.parameters()}
    del value
    return sum(size for place, size in found.items() if place not in weights) / 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=4, help="ragged batches that are drawn")
    parser.add_argument("--repeats", type=int, default=4, help="steps with each batch; the fastest counts")
    parser.add_argument("--samples", type=int, default=4, help="samples per batch")
    parser.add_argument("--layers", type=int, default=CONFIG.num_layers, help="joint blocks of the model")
    parser.add_argument("--bfloat16", action="store_true", help="under autocast, with float32 weights")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    draw = random.Random(0)
    dit = DiffusionTransformer(dataclasses.replace(CONFIG, num_layers=arguments.layers))
    optimizer = torch.optim.AdamW(dit.parameters(), lr=1e-4)
    kinds = {
        "uniform": [uniform(arguments.samples)] * arguments.batches,
        "ragged": [ragged(arguments.samples, draw) for _ in range(arguments.batches)],
    }
    fastest = {name: [float("inf")] * arguments.batches for name in kinds}
    step(dit, optimizer, uniform(arguments.samples), arguments.bfloat16)
    for _ in range(arguments.repeats):
        for number in range(arguments.batches):
            for name, layouts in kinds.items():
                fastest[name][number] = min(
                    fastest[name][number], step(dit, optimizer, layouts[number], arguments.bfloat16)
                )
    parameters = sum(weight.numel() for weight in dit.parameters()) / 1e6
    print(f"{parameters:.0f} M parameters, {arguments.threads} threads, {arguments.samples} samples a batch")
    numbers: dict[str, float] = {}
    for name, layouts in kinds.items():
        tokens = sum(layout.tokens for layout in layouts)
        numbers[f"{name}, tokens/s"] = rate = tokens / sum(fastest[name])
        numbers[f"{name}, kept MiB"] = memory = kept(dit, layouts[0], arguments.bfloat16)
        print(f"{name:8s} {rate:7.0f} tokens/s ({tokens} tokens in {len(layouts)} batches), keeps {memory:.0f} MiB")
    print(f"ragged / uniform {numbers['ragged, tokens/s'] / numbers['uniform, tokens/s']:.2f}")
    print(json.dumps(numbers))


if __name__ == "__main__":
    main()
