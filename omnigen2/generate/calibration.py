"""TeaCache's polynomial of a model: fitted to its drawings, kept in its folder, refused where it says nothing."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from omnigen2.dit.cache import FEWEST, Fit, Pairs
from omnigen2.files import Fields, read_object, write_json
from omnigen2.generate.denoise import Progress
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.request import Request, Sampling

CALIBRATION_FILE = "teacache.json"
NEAR = 1.5
"""How many times as many steps, or as few, have changes from step to step that are much like those of the fit."""
PIECES, PIECE = 64, 4096
"""Of each file of weights so many pieces of so many bytes are looked at, which training changes all at once."""
AGAIN = "fit it again by `omnigen2 calibrate`, or delete the file, which takes the plain change"
CALIBRATION_PROMPTS = (
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


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What TeaCache knows of a model.

    Attributes:
        fit: The polynomial.
        steps: Of the drawings that it was fitted to.
        prompts: Number of them.
        where: The file; empty if it is of none.
        stale: Whether the weights beside the file are no longer those of the fit.
    """

    fit: Fit
    steps: int
    prompts: int
    where: str = ""
    stale: bool = False

    def check(self, sampling: Sampling) -> None:
        """Refuse what the polynomial says nothing about; samplings that do not use it pass.

        Raises:
            GenerateError: If it was fitted to other weights, or to many more or many fewer steps.
        """
        if sampling.cache != "teacache":
            return
        where = self.where or "TeaCache's polynomial"
        if self.stale:
            raise GenerateError(f"{where} was fitted to other weights than those of the folder's transformer", AGAIN)
        if not self.steps / NEAR <= sampling.steps <= self.steps * NEAR:
            raise GenerateError(
                f"{where} was fitted to drawings of {self.steps} steps, which change less or more from step to step "
                f"than those of {sampling.steps}",
                AGAIN,
                {"steps": f"set {{}} to {self.steps}"},
            )


def read_calibration(folder: Path) -> Calibration | None:
    """What a model folder's `teacache.json` says; None if there is none.

    Raises:
        GenerateError: If it says something else.
    """
    path = folder / CALIBRATION_FILE
    if not path.is_file():
        return None
    fields = read_object(path, GenerateError, AGAIN)
    fields.only("coefficients", "span", "explained", "error", "pairs", "steps", "prompts", "transformer")
    span = _numbers(fields, "span")
    if len(span) != 2 or not 0 <= span[0] <= span[1]:
        raise fields.refusal("span", "the least and the largest change")
    numbers = {name: fields.number(name) for name in ("explained", "error")}
    counts = {name: fields.whole(name, 1) for name in ("steps", "prompts")}
    fit = Fit(_numbers(fields, "coefficients"), (span[0], span[1]), pairs=fields.whole("pairs", 1), **numbers)
    stale = fields.text("transformer") != identity(folder / "transformer")
    return Calibration(fit=fit, where=str(path), stale=stale, **counts)


def write_calibration(folder: Path, calibration: Calibration) -> Path:
    """Write `teacache.json` into the model folder that a calibration was made with."""
    about = {
        "steps": calibration.steps,
        "prompts": calibration.prompts,
        "transformer": identity(folder / "transformer"),
    }
    write_json(folder / CALIBRATION_FILE, {**asdict(calibration.fit), **about})
    return folder / CALIBRATION_FILE


def identity(transformer: Path) -> str:
    """A digest of a transformer's sizes and of some of its weights."""
    total = hashlib.sha256((transformer / "config.json").read_bytes())
    for path in sorted(transformer.glob("*.safetensors")):
        size = path.stat().st_size
        total.update(size.to_bytes(8, "little"))
        with path.open("rb") as file:
            for number in range(PIECES):
                file.seek(max(size - PIECE, 0) * number // (PIECES - 1))
                total.update(file.read(PIECE))
    return f"sha256:{total.hexdigest()}"


def _numbers(fields: Fields, name: str) -> tuple[float, ...]:
    found = fields.values.get(name)
    if not isinstance(found, list) or not found:
        raise fields.refusal(name, "a list of numbers")
    return tuple(replace(fields, values={name: one}).number(name) for one in found)


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
