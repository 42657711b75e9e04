"""The denoising loop: encoded samples to latents, with guidance, in one packed batch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import torch

from omnigen2.dit import DiffusionTransformer, patchify, unpatchify
from omnigen2.dit.cache import Clock, Count, Run
from omnigen2.flow import Models, TimeShift, time_grid
from omnigen2.generate.branches import BRANCHES, EncodedSample, Latent, PackedBranches
from omnigen2.generate.errors import check_kind
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
    count: Count | None = None,
    start: Callable[[Clock, Count | None], Run] | None = None,
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
        count: Told how much was computed, and how much would be without any reuse.
        start: Makes what is called in the transformer's place, such as `Cache.start` of a rule of
            `omnigen2.dit.cache`; by that of the sampling if None.

    Raises:
        GenerateError: If something else is given.

    Returns:
        One float32 latent per sample, shape (channels, height, width), on the transformer's device.
    """
    check_kind("dit", getattr(dit, "_orig_mod", dit), DiffusionTransformer, "a DiffusionTransformer")
    check_kind("sampling", sampling, Sampling, "a Sampling")
    for sample in samples:
        check_kind("a sample", sample, EncodedSample, "an EncodedSample")
    patch_size, device = dit.config.patch_size, dit.target_embedder.weight.device
    clock = Clock(sampling.steps)
    if start is None:
        cache = sampling.make_cache()
        start = Run if cache is None else cache.start
    run = start(clock, count)
    conditional = PackedBranches(dit, tuple(samples), BRANCHES[1], run=run)
    borders = Ragged.of(target.tokens for target in conditional.targets)
    times = time_grid(sampling.steps, sampling.shift(shift), borders.lengths)
    models = clock.models(_models(conditional, sampling, borders.owners(device), run))
    noise = torch.cat([patchify(sample.noise.to(device), patch_size) for sample in samples])
    state = noise
    solver = sampling.make_solver()
    for step, reached in enumerate(solver.states(models, noise, times, borders.owners(device)), start=1):
        state = reached
        if progress is not None:
            progress(step, sampling.steps)
    tokens = unpack(state, borders)
    return [unpatchify(own, target, patch_size) for own, target in zip(tokens, conditional.targets, strict=True)]


def _models(conditional: PackedBranches, sampling: Sampling, sample_index: TokenIndex, run: Run) -> Models:
    """The velocity of each step."""
    guidance = sampling.guidance(any(sample.references for sample in conditional.samples))
    if guidance is None:
        return conditional
    dit, number = conditional.dit, guidance.num_branches
    branches = PackedBranches(dit, conditional.samples, BRANCHES[number], run=run)
    reuse = sampling.guidance_reuse()
    if reuse is None:
        guided = guidance(branches, sample_index)
    else:
        saved = (len(branches.rows) - len(conditional.rows)) * len(dit.blocks)
        skip = partial(run.count.skip, saved)
        guided = guidance(reuse.over(branches, conditional, number, run.clock, skip), sample_index)
    return sampling.schedule().models(guided, conditional, sampling.steps)
