"""What an objective draws for a batch of data: times and noise."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from omnigen2.flow.packed import PerSample, States
from omnigen2.flow.schedule import TimeShift
from omnigen2.flow.times import TimeSampler


class Draw(NamedTuple):
    """Where on its path each sample is looked at.

    Attributes:
        t: Time of each sample, after the shift, shape (samples,).
        noise: Standard normal, float32, shape (tokens, *features).
    """

    t: PerSample
    noise: States


def draw_times_and_noise(
    sampler: TimeSampler, shift: TimeShift, data: States, tokens: Sequence[int], generator: torch.Generator
) -> Draw:
    """Draw a time for each sample, then noise for each element, without waiting for the device.

    Args:
        sampler: Where the times come from, before the shift.
        shift: Moves the times by the size of each picture.
        data: Packed target tokens, shape (tokens, *features).
        tokens: Number of tokens of each sample, on the host.
        generator: Source of both, drawn on its own device.

    Returns:
        Both on the device of `data`.

    Raises:
        ValueError: If `tokens` does not add up to the tokens of `data`.
    """
    if sum(tokens) != data.shape[0]:
        raise ValueError(
            f"tokens {list(tokens)} add up to {sum(tokens)}, but data has {data.shape[0]} packed tokens; "
            "pass the number of target tokens of each sample"
        )
    t = shift(sampler.sample(len(tokens), generator), tokens)
    noise = torch.randn(data.shape, generator=generator, device=generator.device)
    return Draw(t.to(data.device, non_blocking=True), noise.to(data.device, non_blocking=True))
