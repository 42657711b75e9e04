"""`teacache.json` of a model folder: TeaCache's polynomial, what it was fitted to, and whether it holds."""

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from omnigen2.dit.cache import Fit
from omnigen2.files import Fields, read_object, write_json
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.request import Sampling

FILE = "teacache.json"
NEAR = 1.5
"""How many times as many steps, or as few, have changes from step to step that are much like those of the fit."""
PIECES, PIECE = 64, 4096
"""Of each file of weights so many pieces of so many bytes are looked at, which training changes all at once."""
AGAIN = "fit it again by `omnigen2 calibrate`, or delete the file, which takes the plain change"


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
    path = folder / FILE
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
    write_json(folder / FILE, {**asdict(calibration.fit), **about})
    return folder / FILE


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
