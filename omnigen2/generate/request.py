"""What is asked for: one `Request` per picture, and the `Sampling` that all pictures of a batch share."""

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal, TypeAlias, TypedDict, assert_never, get_args

from PIL import Image

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
from omnigen2.generate.errors import GenerateError

SolverName: TypeAlias = Literal["euler", "heun", "dpm2", "dpm3"]
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

    Raises:
        GenerateError: If a value is out of range.
    """

    steps: int = 28
    text_scale: float = 4.0
    image_scale: float = 1.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    solver: SolverName = "euler"
    time_shift: float | None = None

    def __post_init__(self) -> None:
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
        for name in ("text_scale", "image_scale", "time_shift"):
            check_most(name, getattr(self, name), FARTHEST, GenerateError)

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

    Raises:
        GenerateError: If the sides or the seed cannot be used.
    """

    prompt: str
    images: tuple[ImageInput, ...] = ()
    height: int | None = None
    width: int | None = None
    negative_prompt: str = ""
    seed: int | None = None

    def __post_init__(self) -> None:
        if (self.height is None) != (self.width is None):
            raise GenerateError(
                f"got height {self.height} and width {self.width}", "give both, or neither for the default size"
            )
        for name in ("height", "width"):
            check_most(name, getattr(self, name), MOST_SIDE, GenerateError)
        if self.seed is not None and not 0 <= self.seed < 2**63:
            raise GenerateError(f"seed must be at least 0 and below 2^63, got {str(self.seed):.40}", "use another seed")
