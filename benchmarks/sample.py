"""Packed guidance with preparation against three separate full forwards per step.

    python benchmarks/sample.py

Both sample the same picture from the same noise with text and image guidance: an edit with two references. The
packed sampler evaluates the three branches (prompt and references, references alone, neither) as three samples of one
packed batch, and does what does not depend on the time once. The separate one calls the whole model once per branch
and step. Their last states are compared, runs alternate, and the last line is the ratio of the medians.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from omnigen2.dit import DiffusionTransformer, Inputs, TransformerConfig, patchify
from omnigen2.dit.patch import segment
from omnigen2.flow import EulerSolver, SquareRootShift, TextImageGuidance, time_grid
from omnigen2.generate import EncodedSample, Sampling, denoise
from omnigen2.layout import Layout, TextSegment
from omnigen2.make_tiny import randomize

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


def seconds(run: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """How long it takes, and what it made."""
    start = time.perf_counter()
    made = run()
    return time.perf_counter() - start, made


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="measured runs of each kind")
    parser.add_argument("--steps", type=int, default=10, help="steps of a run")
    parser.add_argument("--text", type=int, default=100, help="text tokens")
    parser.add_argument("--side", type=int, default=8, help="side of target and references, in tokens")
    parser.add_argument("--references", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    dit = DiffusionTransformer(CONFIG).eval()
    randomize(dit)
    own = sample(arguments.text, arguments.side, arguments.references)
    sampling = Sampling(steps=arguments.steps, text_scale=4.0, image_scale=2.0)
    times: dict[str, list[float]] = {"separate": [], "packed": []}
    for number in range(arguments.rounds + 1):
        made: dict[str, Tensor] = {}
        for name, run in (("separate", separate), ("packed", packed)):
            elapsed, made[name] = seconds(lambda run=run: run(dit, own, sampling))
            times[name] += [elapsed] if number else []
        torch.testing.assert_close(made["packed"], made["separate"], rtol=1e-3, atol=1e-3)
    parameters = sum(weight.numel() for weight in dit.parameters()) / 1e6
    images = f"{arguments.references} references and a target of {arguments.side}x{arguments.side} tokens"
    print(f"{parameters:.1f} M parameters, {arguments.threads} threads, {arguments.steps} steps")
    print(f"text of {arguments.text} tokens, {images}")
    middle = {name: statistics.median(values) for name, values in times.items()}
    for name, value in middle.items():
        spread = f"{min(times[name]) * 1e3:.0f} to {max(times[name]) * 1e3:.0f}"
        print(f"{name:9s} {value * 1e3:7.1f} ms (median of {arguments.rounds}, {spread})")
    print(f"separate / packed {middle['separate'] / middle['packed']:.2f}")


if __name__ == "__main__":
    main()
