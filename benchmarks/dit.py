"""Tokens per second of a training step, for batches of equal and of very different samples.

    python benchmarks/dit.py

A transformer that pads pays for the longest sample in every row. This one packs, so a token should cost the same
whatever its neighbours are. The two kinds of batch alternate within one run, each batch counts with its fastest step
(so that other programs on the machine matter little), and the last line is their ratio.
"""

import argparse
import random
import time

import torch

from omnigen2.dit import DiffusionTransformer, Inputs, TransformerConfig
from omnigen2.layout import ImageSegment, Layout, TextSegment

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

    def image(role: str) -> ImageSegment:
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


def step(dit: DiffusionTransformer, optimizer: torch.optim.Optimizer, layout: Layout) -> float:
    """Seconds of one training step."""
    text = torch.randn(layout.segments("text").total, CONFIG.text_dim)
    references = torch.randn(layout.segments("reference").total, CONFIG.patch_channels)
    target = torch.randn(layout.segments("target").total, CONFIG.patch_channels)
    start = time.perf_counter()
    velocity = dit(target, torch.rand(len(layout)), Inputs(layout, text, references))
    (velocity - target).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=4, help="ragged batches that are drawn")
    parser.add_argument("--repeats", type=int, default=4, help="steps with each batch; the fastest counts")
    parser.add_argument("--samples", type=int, default=4, help="samples per batch")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    draw = random.Random(0)
    dit = DiffusionTransformer(CONFIG)
    optimizer = torch.optim.AdamW(dit.parameters(), lr=1e-4)
    kinds = {
        "uniform": [uniform(arguments.samples)] * arguments.batches,
        "ragged": [ragged(arguments.samples, draw) for _ in range(arguments.batches)],
    }
    fastest = {name: [float("inf")] * arguments.batches for name in kinds}
    step(dit, optimizer, uniform(arguments.samples))
    for _ in range(arguments.repeats):
        for number in range(arguments.batches):
            for name, layouts in kinds.items():
                fastest[name][number] = min(fastest[name][number], step(dit, optimizer, layouts[number]))
    parameters = sum(weight.numel() for weight in dit.parameters()) / 1e6
    print(f"{parameters:.0f} M parameters, {arguments.threads} threads, {arguments.samples} samples a batch")
    rates: dict[str, float] = {}
    for name, layouts in kinds.items():
        tokens = sum(layout.tokens for layout in layouts)
        rates[name] = tokens / sum(fastest[name])
        print(f"{name:8s} {rates[name]:7.0f} tokens/s ({tokens} tokens in {arguments.batches} batches)")
    print(f"ragged / uniform {rates['ragged'] / rates['uniform']:.2f}")


if __name__ == "__main__":
    main()
