"""Drawings that are watched for TeaCache."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from omnigen2.dit.cache import FEWEST, Fit, Pairs
from omnigen2.generate.calibration.file import Calibration
from omnigen2.generate.denoise import Progress
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.request import Request, Sampling

PROMPTS = (
    "a red cube on a wooden table",
    "a photo of a cat asleep on a blue sofa, soft light from a window",
    "two dogs run along a beach at sunset",
    "a watercolour of a mountain lake with pine trees",
    "a busy street in the rain at night, neon signs reflected on the ground",
    'a shop with the words "open today" over its door',
    "portrait of an old man with a white beard, black and white",
    "three green apples in a glass bowl",
    "an oil painting of a ship in a storm",
    "a city of the future seen from above",
    "a child flies a yellow kite in a field of flowers",
    "a close photo of a bee on a sunflower",
    "a drawing of a castle on a hill, ink on paper",
    "a bicycle leans on a brick wall",
    "a bowl of noodle soup with egg and spring onions",
    "an astronaut rides a horse on the moon",
)
"""What is drawn where nobody says: unlike each other, as the official calibration wants them."""


@runtime_checkable
class Watched(Protocol):
    """A `Generator`."""

    @property
    def sampling(self) -> Sampling:
        """What pictures are drawn with where nobody says otherwise."""
        ...

    def watch(
        self, requests: Sequence[Request], sampling: Sampling | None = None, progress: Progress | None = None
    ) -> Pairs:
        """How drawings changed from step to step."""
        ...


def check_enough(requests: int, sampling: Sampling) -> None:
    """Refuse drawings that have too few steps to fit a polynomial to.

    Raises:
        GenerateError: If so many have.
    """
    if requests * (sampling.steps - 1) < FEWEST:
        raise GenerateError(
            f"{requests} prompts of {sampling.steps} steps have {requests * (sampling.steps - 1)} changes from step to "
            f"step, a polynomial wants {FEWEST}",
            "draw more prompts, twenty are usual",
        )


def calibrate(
    generator: Watched,
    requests: Sequence[Request],
    sampling: Sampling | None = None,
    *,
    batch_size: int = 1,
    progress: Progress | None = None,
) -> Calibration:
    """Draw, and fit TeaCache's polynomial to how the drawings change from step to step.

    All branches of guidance count, in all steps. Nothing is reused, whatever the sampling says.

    Args:
        generator: A `Generator`; drawing with it uses what is found once it is its `calibration`.
        requests: Some ten or more, as unlike each other as what will be drawn.
        sampling: How they are drawn; as the model says if None.
        batch_size: Drawn together.
        progress: Told after each step of each batch.

    Raises:
        GenerateError: If the batch size is below 1, or there are too few requests.

    Source: the official calibration of TeaCache, Liu et al., arXiv:2411.19108; see `omnigen2.dit.cache.Fit`.
    """
    if batch_size < 1:
        raise GenerateError(f"batch_size must be at least 1, got {batch_size}", "1 needs the least memory")
    sampling = generator.sampling if sampling is None else sampling
    check_enough(len(requests), sampling)
    plain = replace(sampling, cache="none", cache_threshold=None, cache_interval=None, guidance_every=1)
    pairs: Pairs = []
    for start in range(0, len(requests), batch_size):
        pairs += generator.watch(requests[start : start + batch_size], plain, progress)
    return Calibration(fit=Fit.of(pairs), steps=sampling.steps, prompts=len(requests))
