"""What is asked for: one `Request` per picture, and the `Sampling` that all pictures of a batch share."""

from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Literal, TypeAlias, TypedDict, assert_never, get_args

from PIL import Image

from omnigen2.dit.cache import Cache, FirstBlockCache, Fit, ForecastCache, GuidanceReuse, TaylorSeer, TeaCache
from omnigen2.files import check_most
from omnigen2.flow import (
    DPMSolver,
    EulerSolver,
    FixedShift,
    Guidance,
    GuidanceSchedule,
    HeunSolver,
    Solver,
    TextGuidance,
    TextImageGuidance,
    TimeShift,
)
from omnigen2.generate.errors import GenerateError, check_kind

SolverName: TypeAlias = Literal["euler", "heun", "dpm2", "dpm3"]
CacheName: TypeAlias = Literal["none", "forecast", "first_block", "teacache", "taylorseer"]
ImageInput: TypeAlias = Image.Image | str | Path | bytes
"""A picture in memory, or the path or the contents of an image file."""
MOST_STEPS = 100_000
MOST_SIDE = 2**14 - 1
"""Pixels of a picture's side; WebP files take no more."""
MOST_IMAGES = 100_000
"""Pictures that are asked for at once."""
FARTHEST = 10**9
"""Scales and shifts beyond this are slips."""


class SamplingOptions(TypedDict, total=False):
    """The keywords of `Sampling`, for calls that pass them on."""

    steps: int
    text_scale: float
    image_scale: float
    guidance_interval: tuple[float, float]
    solver: SolverName
    time_shift: float | None
    cache: CacheName
    cache_threshold: float | None
    cache_interval: int | None
    guidance_every: int


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How noise becomes a picture. The defaults are those of the official pipeline.

    Attributes:
        steps: Steps of the solver, at least 1.
        text_scale: How much the prompt is followed; 1 is no guidance, 4 to 5 are usual.
        image_scale: How much the references are followed; 1 is no guidance of their own, 1.2 to 2 suits edits, 2.5
            to 3 in-context generation. As in the official pipeline it has no effect where `text_scale` is 1 or less.
        guidance_interval: First and last fraction of the steps that are guided, 0 <= first <= last <= 1, both ends
            included; the other steps cost a half or a third.
        solver: `"euler"` (order 1), `"heun"` (order 2, two evaluations per step), `"dpm2"` and `"dpm3"`
            (DPM-Solver++ multistep of order 2 and 3).
        time_shift: A fixed time shift for every size, above 0 (1 is none, 3 is usual); None for the model's own.
        cache: What is reused between steps: `"forecast"` computes a picture's step where extrapolation would err too
            much, `"first_block"` and `"teacache"` where the transformer's first states changed too much, `"taylorseer"`
            at fixed steps; `"none"` computes every step.
        cache_threshold: Of all but `"taylorseer"`: how much error or change is let pass, at least 0, which reuses
            nothing; None for the usual 0.1 (`"teacache"`: 0.15).
        cache_interval: Of `"taylorseer"`: each so many steps one is computed, at least 1; None for 3.
        guidance_every: Each so many steps all branches of guidance are computed, at least 1; at the others the
            conditional branch alone, and the difference is extrapolated.

    Raises:
        GenerateError: If a value is out of range.
    """

    steps: int = 28
    text_scale: float = 4.0
    image_scale: float = 1.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    solver: SolverName = "euler"
    time_shift: float | None = None
    cache: CacheName = "none"
    cache_threshold: float | None = None
    cache_interval: int | None = None
    guidance_every: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "cache_interval", "guidance_every"):
            value = getattr(self, name)
            if value is not None or name != "cache_interval":
                check_kind(name, value, int, "a whole number")
        for name in ("text_scale", "image_scale", "time_shift", "cache_threshold"):
            if (value := getattr(self, name)) is not None or name.endswith("scale"):
                check_kind(name, value, (int, float), "a number")
        check_kind("guidance_interval", self.guidance_interval, (tuple, list), "two fractions of the steps")
        if len(self.guidance_interval) != 2:
            raise GenerateError(f"guidance_interval is {self.guidance_interval}, expected two fractions of the steps")
        if not 1 <= self.steps <= MOST_STEPS:
            most = "" if self.steps < 1 else f" and at most {MOST_STEPS}"
            raise GenerateError(
                f"steps must be at least 1{most}, got {self.steps}", "28 to 50 are usual with Euler's solver"
            )
        for name in ("text_scale", "image_scale"):
            value = getattr(self, name)
            if not (isfinite(value) and value >= 0):
                raise GenerateError(f"{name} must be a number of at least 0, got {value}", "1 is no guidance")
        first, last = self.guidance_interval
        if not 0 <= first <= last <= 1:
            raise GenerateError(
                f"guidance_interval must be 0 <= first <= last <= 1, got {first} and {last}",
                "both are fractions of the steps; 0 and 1 guide every step",
            )
        if self.solver not in get_args(SolverName):
            raise GenerateError(
                f"there is no solver {self.solver!r}", f"choose one of {', '.join(get_args(SolverName))}"
            )
        if self.time_shift is not None and not (isfinite(self.time_shift) and self.time_shift > 0):
            raise GenerateError(f"time_shift must be a number above 0, got {self.time_shift}", "1 is none, 3 is usual")
        self._check_cache()
        for name in ("text_scale", "image_scale", "time_shift"):
            check_most(name, getattr(self, name), FARTHEST, GenerateError)

    def _check_cache(self) -> None:
        if self.cache not in get_args(CacheName):
            raise GenerateError(f"there is no cache {self.cache!r}", f"choose one of {', '.join(get_args(CacheName))}")
        if self.cache_threshold is not None:
            if self.cache in ("none", "taylorseer"):
                raise GenerateError(f"cache_threshold has no meaning for the cache {self.cache!r}", "leave it out")
            if not (isfinite(self.cache_threshold) and self.cache_threshold >= 0):
                raise GenerateError(
                    f"cache_threshold must be a number of at least 0, got {self.cache_threshold}", "0.1 is usual"
                )
        if self.cache_interval is not None and self.cache != "taylorseer":
            raise GenerateError(f"cache_interval has no meaning for the cache {self.cache!r}", "leave it out")
        for name in ("cache_interval", "guidance_every"):
            value = getattr(self, name)
            if value is not None and not 1 <= value <= MOST_STEPS:
                raise GenerateError(
                    f"{name} must be at least 1 and at most {MOST_STEPS}, got {value}", "2 or 3 is usual"
                )

    def make_cache(self, fit: Fit | None = None) -> Cache | None:
        """The rule by which steps reuse earlier ones; None if none does.

        Args:
            fit: What `"teacache"` goes by; the plain change if None.
        """
        threshold = self.cache_threshold
        match self.cache:
            case "none":
                return None
            case "forecast":
                return ForecastCache(threshold=0.1 if threshold is None else threshold)
            case "first_block":
                return FirstBlockCache(threshold=0.1 if threshold is None else threshold)
            case "teacache":
                plain = TeaCache(threshold=0.15 if threshold is None else threshold)
                return plain if fit is None else replace(plain, coefficients=fit.coefficients, span=fit.span)
            case "taylorseer":
                return TaylorSeer(interval=self.cache_interval or 3)
            case _:
                assert_never(self.cache)

    def guidance_reuse(self) -> GuidanceReuse | None:
        """How what guidance adds is reused; None if it is not."""
        return None if self.guidance_every == 1 else GuidanceReuse(interval=self.guidance_every)

    def guidance(self, references: bool) -> Guidance | None:
        """The rule that joins the branches; None if the conditional branch alone is enough.

        Args:
            references: Whether any sample of the batch has references.
        """
        if self.text_scale <= 1:
            return None
        if self.image_scale > 1 and references:
            return TextImageGuidance(self.text_scale, self.image_scale)
        return TextGuidance(self.text_scale)

    def shift(self, own: TimeShift) -> TimeShift:
        """The time shift: the fixed one if it is given, otherwise the model's own."""
        return own if self.time_shift is None else FixedShift(self.time_shift)

    def schedule(self) -> GuidanceSchedule:
        """Which steps are guided."""
        return GuidanceSchedule(*self.guidance_interval)

    def make_solver(self) -> Solver:
        """The solver by its name."""
        match self.solver:
            case "euler":
                return EulerSolver()
            case "heun":
                return HeunSolver()
            case "dpm2":
                return DPMSolver()
            case "dpm3":
                return DPMSolver(order=3)
            case _:
                assert_never(self.solver)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One picture that is asked for.

    Attributes:
        prompt: What to draw, or what to do with the references.
        images: References, in the order in which the prompt speaks of them.
        height: Pixels, a multiple of 16 for the released model. None takes the size of the only reference, or 1024
            when there is none or more than one.
        width: Pixels; given or left out together with the height.
        negative_prompt: What the unguided branches read.
        seed: Of the noise, at least 0; one is drawn if None, and told by the result. The same seed gives the same
            picture, whatever else is in the batch (up to rounding).
        meta: Text for whoever judges the picture, such as a task in JSON; the model does not see it.

    Raises:
        GenerateError: If the sides or the seed cannot be used.
    """

    prompt: str
    images: tuple[ImageInput, ...] = ()
    height: int | None = None
    width: int | None = None
    negative_prompt: str = ""
    seed: int | None = None
    meta: str = ""

    def __post_init__(self) -> None:
        for name in ("prompt", "negative_prompt", "meta"):
            check_kind(name, getattr(self, name), str, "a text")
        check_kind("images", self.images, (tuple, list), "several images; of one it is (image,)")
        for number, image in enumerate(self.images, start=1):
            kinds = (Image.Image, str, Path, bytes)
            check_kind(f"image {number}", image, kinds, "a PIL image, or the path or the contents of a file")
        for name in ("height", "width", "seed"):
            if (value := getattr(self, name)) is not None:
                check_kind(name, value, int, "a whole number")
        if (self.height is None) != (self.width is None):
            raise GenerateError(
                f"got height {self.height} and width {self.width}", "give both, or neither for the default size"
            )
        for name in ("height", "width"):
            check_most(name, getattr(self, name), MOST_SIDE, GenerateError)
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise GenerateError(f"seed must be at least 0 and below 2^63, got {str(self.seed):.40}", "use another seed")
