"""Packed guidance with preparation against three separate full forwards per step.

    python benchmarks/sample.py

Both sample the same picture from the same noise with text and image guidance: an edit with two references. The
packed sampler evaluates the three branches (prompt and references, references alone, neither) as three samples of one
packed batch, refines what they share (the noisy target, the references) once, and does what does not depend on the
time once for all steps. The separate one calls the whole model once per branch and step. Their last states are
compared, runs alternate, and the ratio is that of the fastest runs.

What packing saves is the cost of calls (index tables, launches, small matrix products) and refiners. Both are a large
share where samples are short, and a small one where the matrix products of the joint blocks fill the machine: the
last column is the ratio of the matrix products alone.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from omnigen2.dit import DiffusionTransformer, Inputs, TransformerConfig, forward_flops, patchify, segment
from omnigen2.flow import EulerSolver, SquareRootShift, TextImageGuidance, time_grid
from omnigen2.generate import BRANCHES, EncodedSample, PackedBranches, Sampling, denoise, randomize
from omnigen2.layout import Layout, TextSegment

CONFIG = TransformerConfig(
    hidden_size=240,
    num_layers=4,
    num_refiner_layers=2,
    num_heads=6,
    num_kv_heads=2,
    axes=(16, 12, 12),
    in_channels=16,
    text_dim=256,
    multiple_of=64,
)
SHIFT = SquareRootShift()


def sample(text: int, side: int, references: int) -> EncodedSample:
    """Random states and latents: a prompt, square references, and a square target."""
    latent = (CONFIG.in_channels, side * CONFIG.patch_size, side * CONFIG.patch_size)
    return EncodedSample(
        text=torch.randn(text, CONFIG.text_dim),
        negative=torch.randn(text, CONFIG.text_dim),
        references=tuple(torch.randn(latent) for _ in range(references)),
        noise=torch.randn(latent),
    )


def separate(dit: DiffusionTransformer, own: EncodedSample, sampling: Sampling) -> Tensor:
    """Three calls of the whole model per step."""
    patch_size = dit.config.patch_size
    target = segment(own.noise, patch_size, "target")
    images = [segment(latent, patch_size, "reference") for latent in own.references]
    patches = torch.cat([patchify(latent, patch_size) for latent in own.references])
    shown = Layout(((TextSegment(own.text.shape[0]), *images, target),))
    conditional = Inputs(shown, own.text, patches)
    reference = Inputs(shown, own.negative, patches)
    unconditional = Inputs(Layout(((TextSegment(own.negative.shape[0]), target),)), own.negative, patches[:0])
    owners = torch.zeros(target.tokens, dtype=torch.int64)
    rule = TextImageGuidance(sampling.text_scale, sampling.image_scale)

    def velocity(x_t: Tensor, t: Tensor) -> Tensor:
        return rule.combine(torch.stack([dit(x_t, t, c) for c in (conditional, reference, unconditional)]), owners, 1)

    times = time_grid(sampling.steps, SHIFT, [target.tokens])
    noise = patchify(own.noise, patch_size)
    with torch.no_grad():
        return EulerSolver().solve(velocity, noise, times, owners)


def packed(dit: DiffusionTransformer, own: EncodedSample, sampling: Sampling) -> Tensor:
    """What `Generator` does."""
    return patchify(denoise(dit, [own], sampling, SHIFT)[0], dit.config.patch_size)


def arithmetic(own: EncodedSample, steps: int) -> float:
    """How many times fewer matrix products the packed sampler computes: the ratio where nothing else costs time."""
    shared = PackedBranches(DiffusionTransformer(CONFIG), (own,), BRANCHES[3]).inputs
    assert shared.joint is not None
    texts = Layout(tuple(sample for sample in shared.layout.batch if sample[0].kind == "text"))
    once = forward_flops(CONFIG, texts) - forward_flops(replace(CONFIG, num_refiner_layers=0), texts)
    segments = [segment for sample in shared.layout.batch for segment in sample]
    apart = sum(forward_flops(CONFIG, Layout((tuple(segments[n] for n in row),))) for row in shared.joint)
    together = forward_flops(CONFIG, shared.layout, shared.joint)
    return steps * apart / (steps * together - (steps - 1) * once)


def seconds(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """How long it takes, and what it made."""
    start = time.perf_counter()
    made = run()
    return time.perf_counter() - start, made


def measure(text: int, side: int, references: int, steps: int, rounds: int) -> str:
    """One row of the table."""
    torch.manual_seed(0)
    dit = DiffusionTransformer(CONFIG).eval()
    randomize(dit)
    own = sample(text, side, references)
    sampling = Sampling(steps=steps, text_scale=4.0, image_scale=2.0)
    times: dict[str, list[float]] = {"separate": [], "packed": []}
    for number in range(rounds + 1):
        made: dict[str, Tensor] = {}
        for name, run in (("separate", separate), ("packed", packed)):
            elapsed, made[name] = seconds(lambda run=run: run(dit, own, sampling))
            times[name] += [elapsed * 1e3] if number else []
        torch.testing.assert_close(made["packed"], made["separate"], rtol=1e-3, atol=1e-3)
    fastest = {name: min(values) for name, values in times.items()}
    cells = [f"{fastest[name]:.0f} ({statistics.median(values):.0f})" for name, values in times.items()]
    size = f"text {text}, {references} references, side {side}"
    ratio = fastest["separate"] / fastest["packed"]
    return f"| {size} | {cells[0]} | {cells[1]} | {ratio:.2f} | {arithmetic(own, steps):.2f} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="measured runs of each kind")
    parser.add_argument("--steps", type=int, default=5, help="steps of a run")
    parser.add_argument("--sizes", default="100x8,100x4,20x4,20x2", help="text tokens x side of each image in tokens")
    parser.add_argument("--references", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    parameters = sum(weight.numel() for weight in DiffusionTransformer(CONFIG).parameters()) / 1e6
    print(f"{parameters:.1f} M parameters, {arguments.threads} threads, {arguments.steps} steps")
    print(f"milliseconds per picture, the fastest of {arguments.rounds} alternating runs (and their median)\n")
    print("| size | separate | packed | separate / packed | by arithmetic alone |\n|---|---|---|---|---|")
    for size in arguments.sizes.split(","):
        text, side = (int(number) for number in size.split("x"))
        print(measure(text, side, arguments.references, arguments.steps, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
