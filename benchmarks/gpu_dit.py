r"""What one GPU makes of the transformer: kernels against float64, then training steps of the 4B model in bfloat16.

    python benchmarks/gpu_dit.py --out docs/performance.md

First the card's own ceilings (bfloat16 matrix product, copy), so that "MFU" is a share of what this card can do and
not of a data sheet. Then every attention backend against a float64 computation. Then training steps (forward,
backward, AdamW in bfloat16) of text-to-image and mixed batches, with and without compiled blocks and activation
checkpointing. The same code in miniature, to see that it works:

    python benchmarks/gpu_dit.py --device cpu --variant micro --eager --repeats 1 --tokens 16 --matrix 64 \
        --pixels_per_token 256
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from omnigen2.dit import (
    AttentionBackend,
    Borders,
    DiffusionTransformer,
    Inputs,
    TransformerConfig,
    attend,
    forward_flops,
    variants,
)
from omnigen2.layout import ImageSegment, Layout, Ragged, TextSegment

CONFIGS = {"omnigen2_4b": variants.OMNIGEN2_4B, "micro": variants.MICRO}
TEXT = 128
"""Text tokens per sample."""


def seconds(run: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median time of a call, the first two left out where they are not all there is."""
    times = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:] or times)


def synchronize(device: torch.device) -> None:
    """Wait for the device, where there is something to wait for."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def ceilings(device: torch.device, size: int, repeats: int) -> tuple[float, float]:
    """Floating-point operations per second of a bfloat16 matrix product, and bytes per second of a copy."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    copy = torch.empty_like(left)
    product = 2 * size**3 / seconds(lambda: left @ right, device, repeats)
    return product, 2 * left.nbytes / seconds(lambda: copy.copy_(left), device, repeats)


def dense(query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Attention in full, one sequence after another, key and value heads repeated."""
    ratio = query.shape[1] // key.shape[1]
    outputs = []
    for q, k, v in zip(*(states.split(lengths) for states in (query, key, value)), strict=True):
        scores = torch.einsum("qhd,khd->hqk", q, k.repeat_interleave(ratio, 1)) / q.shape[2] ** 0.5
        outputs.append(torch.einsum("hqk,khd->qhd", scores.softmax(-1), v.repeat_interleave(ratio, 1)))
    return torch.cat(outputs)


def backend_errors(backend: AttentionBackend, device: torch.device) -> str:
    """Largest error of the output and of the query's gradient, relative to the largest float64 value."""
    ragged = Ragged.of((900, 17, 1, 333))
    generator = torch.Generator().manual_seed(0)
    shapes = ((ragged.total, 21, 120), (ragged.total, 7, 120), (ragged.total, 7, 120))
    exact = [torch.randn(shape, generator=generator).bfloat16().double().requires_grad_() for shape in shapes]
    rounded = [states.detach().to(device, torch.bfloat16).requires_grad_() for states in exact]
    try:
        actual = attend(*rounded, Borders.of(ragged, device), backend)
    except (ValueError, ImportError) as error:
        return f"not run: {error}"
    expected = dense(*exact, ragged.lengths)
    errors = []
    for got, wanted in (
        (actual, expected),
        (torch.autograd.grad(actual.float().sum(), rounded)[0], torch.autograd.grad(expected.sum(), exact)[0]),
    ):
        errors.append(((got.cpu().double() - wanted).abs().max() / wanted.abs().max()).item())
    return f"output {errors[0]:.1e}, gradient {errors[1]:.1e}"


def batches(tokens: int, pixels_per_token: int) -> dict[str, Layout]:
    """Text-to-image at three resolutions and mixed tasks at the largest, about `tokens` target tokens each."""

    def image(pixels: int, role: str) -> ImageSegment:
        return ImageSegment(pixels // pixels_per_token, pixels // pixels_per_token, role)

    plans: dict[str, Layout] = {}
    for pixels in (256, 512, 1024):
        target = image(pixels, "target")
        plans[f"text-to-image {pixels}²"] = Layout(((TextSegment(TEXT), target),) * max(1, tokens // target.tokens))
    target = image(1024, "target")
    mixed = [
        (TextSegment(TEXT), *[image(pixels, "reference") for pixels in (1024, 768, 512)[:references]], target)
        for references in range(max(1, min(4, tokens // target.tokens)))
    ]
    plans[f"mixed 1024², 0 to {len(mixed) - 1} references"] = Layout(tuple(mixed))
    return plans


class Trainer:
    """One model and its optimizer, in bfloat16."""

    def __init__(self, config: TransformerConfig, device: torch.device, compiled: bool, checkpointed: bool) -> None:
        torch.manual_seed(0)
        with torch.device(device):
            self.dit = DiffusionTransformer(config, checkpointing=("blocks",) if checkpointed else ())
        self.dit.to(torch.bfloat16)
        self.optimizer = torch.optim.AdamW(self.dit.parameters(), lr=1e-5, fused=device.type == "cuda")
        self.device = device
        if compiled:
            for block in self.dit.blocks:
                block.compile(dynamic=True)

    def step(self, layout: Layout) -> None:
        """Forward, backward, update on random data."""
        config = self.dit.config

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, device=self.device, dtype=torch.bfloat16)

        references = normal(layout.segments("reference").total, config.patch_channels)
        inputs = Inputs(layout, normal(layout.segments("text").total, config.text_dim), references)
        target = normal(layout.segments("target").total, config.patch_channels)
        velocity = self.dit(target, torch.rand(len(layout), device=self.device), inputs)
        (velocity - target).float().square().mean().backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def measure(trainer: Trainer, layout: Layout, peak: float, repeats: int) -> str:
    """Tokens per second, share of the card's own matrix rate, peak memory."""
    cuda = trainer.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    try:
        duration = seconds(lambda: trainer.step(layout), trainer.device, repeats)
    except torch.OutOfMemoryError:
        trainer.optimizer.zero_grad()
        return "out of memory | |"
    rate = f"{layout.tokens / duration:.0f}"
    if not cuda:
        return f"{rate} | not measured | not measured"
    share = 3 * forward_flops(trainer.dit.config, layout) / duration / peak
    return f"{rate} | {share:.1%} | {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--variant", choices=CONFIGS, default="omnigen2_4b")
    parser.add_argument("--tokens", type=int, default=16384, help="target tokens per batch")
    parser.add_argument("--matrix", type=int, default=8192, help="side of the matrices that measure the ceilings")
    parser.add_argument("--pixels_per_token", type=int, default=16, help="pixels along one side of a token")
    parser.add_argument("--repeats", type=int, default=7, help="calls of each kind, the first two not counted")
    parser.add_argument("--eager", action="store_true", help="leave out the compiled runs")
    parser.add_argument("--out", type=Path, help="also write the report to this Markdown file")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    lines: list[str] = []

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type
    peak, bandwidth = ceilings(device, arguments.matrix, arguments.repeats)
    say(f"{name}, torch {torch.__version__}, {arguments.variant}")
    say(f"\nceilings: bfloat16 matrix product {peak / 1e12:.1f} TFLOP/s, copy {bandwidth / 1e9:.0f} GB/s\n")
    for backend in ("sdpa", "varlen", "flash_attn"):
        say(f"- {backend} against float64: {backend_errors(backend, device)}")
    say("\n| batch | compiled | checkpointed | tokens/s | MFU | peak memory |\n|---|---|---|---|---|---|")
    for compiled in (False,) if arguments.eager else (False, True):
        for checkpointed in (True, False):
            trainer = Trainer(CONFIGS[arguments.variant], device, compiled, checkpointed)
            for title, layout in batches(arguments.tokens, arguments.pixels_per_token).items():
                row = measure(trainer, layout, peak, arguments.repeats)
                say(f"| {title} | {'yes' if compiled else 'no'} | {'yes' if checkpointed else 'no'} | {row} |")
            del trainer
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
