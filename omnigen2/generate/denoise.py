"""The denoising loop: encoded samples to latents, with guidance, in one packed batch."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch

from omnigen2.dit import DiffusionTransformer, patchify, unpatchify
from omnigen2.flow import Models, TimeShift, time_grid
from omnigen2.generate.branches import BRANCHES, EncodedSample, Latent, PackedBranches
from omnigen2.generate.request import Sampling
from omnigen2.layout import Ragged, TokenIndex, unpack

Progress: TypeAlias = Callable[[int, int], None]
"""Told after each step how many of how many steps are done."""


@torch.no_grad()
def denoise(
    dit: DiffusionTransformer,
    samples: Sequence[EncodedSample],
    sampling: Sampling,
    shift: TimeShift,
    progress: Progress | None = None,
) -> list[Latent]:
    """Follow the velocity from noise to data.

    Samples may differ in text, in number and size of references and in their own size. All branches of all samples
    are one call of the transformer per step; outside the guidance interval only the conditional ones are evaluated.

    Args:
        dit: The transformer.
        samples: At least one.
        sampling: Steps, scales, solver.
        shift: The model's own, which may depend on each sample's size.
        progress: Told after each step.

    Returns:
        One float32 latent per sample, shape (channels, height, width), on the transformer's device.
    """
    patch_size, device = dit.config.patch_size, dit.target_embedder.weight.device
    conditional = PackedBranches(dit, tuple(samples), BRANCHES[1])
    borders = Ragged.of(target.tokens for target in conditional.targets)
    times = time_grid(sampling.steps, sampling.shift(shift), borders.lengths)
    models = _models(conditional, sampling, borders.owners(device))
    noise = torch.cat([patchify(sample.noise.to(device), patch_size) for sample in samples])
    state = noise
    solver = sampling.make_solver()
    for step, reached in enumerate(solver.states(models, noise, times, borders.owners(device)), start=1):
        state = reached
        if progress is not None:
            progress(step, sampling.steps)
    tokens = unpack(state, borders)
    return [unpatchify(own, target, patch_size) for own, target in zip(tokens, conditional.targets, strict=True)]


def _models(conditional: PackedBranches, sampling: Sampling, sample_index: TokenIndex) -> Models:
    """The velocity of each step."""
    guidance = sampling.guidance(any(sample.references for sample in conditional.samples))
    if guidance is None:
        return conditional
    branches = PackedBranches(conditional.dit, conditional.samples, BRANCHES[guidance.num_branches])
    return sampling.schedule().models(guidance(branches, sample_index), conditional, sampling.steps)
