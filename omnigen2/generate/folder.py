"""Model folders in the released layout, and the time shift that their schedulers ask for."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, get_args

from omnigen2.encoders import HiddenStateBridge, KeptTemplate, KeptTokens
from omnigen2.files import Fields, read_object, write_json
from omnigen2.flow import FixedShift, IdentityShift, SquareRootShift, TimeShift
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.request import Sampling, SolverName

PARTS = ("transformer", "vae", "mllm", "processor", "scheduler")
INDEX = "model_index.json"
LATENT_SIDE = 40
"""Side of the square picture that the official sampler does not shift, in latent pixels (320 pixels)."""
REDUCTION = 8
"""Pixels per latent pixel, as the schedulers count them."""
SCHEDULER_CLASS = "FlowMatchEulerDiscreteScheduler"
SHIFTS = ("dynamic_time_shift", "time_shift_base_res", "shift")
"""The keys of a scheduler's configuration that say the time shift."""
WITHOUT_EFFECT: dict[str, tuple[object, ...]] = {
    "num_train_timesteps": (1000,),
    "use_dynamic_shifting": (False,),
    "base_shift": (0.5,),
    "max_shift": (1.15,),
    "base_image_seq_len": (256,),
    "max_image_seq_len": (4096,),
    "time_shift_type": ("exponential",),
    "shift_terminal": (None,),
    "invert_sigmas": (False,),
    "use_karras_sigmas": (False,),
    "use_exponential_sigmas": (False,),
    "use_beta_sigmas": (False,),
    "stochastic_sampling": (False,),
}
"""What diffusers writes into a scheduler's configuration, and the values at which it changes nothing."""
SAMPLING: Mapping[str, Callable[[Fields, str], Any]] = {
    "steps": Fields.whole,
    "text_scale": Fields.number,
    "image_scale": Fields.number,
    "solver": lambda fields, name: fields.choice(name, *get_args(SolverName)),
    "time_shift": Fields.number,
}
"""What `sampling` in `model_index.json` may say, and what reads it."""
DOWNLOAD = "is the download complete?"
OTHER_SHIFT = "take it out; if you know the shift, draw with --time_shift (in Python: time_shift)"


@dataclass(frozen=True)
class ModelFolder:
    """A folder with the five parts of a model, checked.

    Attributes:
        path: The folder.

    Raises:
        GenerateError: If the folder or one of its parts is missing.
    """

    path: Path

    def __post_init__(self) -> None:
        expected = f"a model folder has {', '.join(f'{part}/' for part in PARTS)}"
        if not self.path.is_dir():
            what = "is a file, not a folder" if self.path.exists() else "does not exist"
            raise GenerateError(
                f"the model folder {self.path} {what}", f"{expected}; `omnigen2 make-tiny DIR` writes a small one"
            )
        missing = [f"{part}/" for part in PARTS if not (self.path / part).is_dir()]
        if missing:
            raise GenerateError(
                f"the model folder {self.path} has no {', '.join(missing)}", f"{expected}; is the download complete?"
            )

    def part(self, name: str) -> Path:
        """The subfolder of a part."""
        return self.path / name

    def config(self, part: str, name: str = "config.json") -> dict[str, Any]:
        """The configuration of a part, from a file in its subfolder.

        Raises:
            GenerateError: If the file is missing or no JSON object.
        """
        return dict(self._fields(part, name).values)

    def shift(self, patch_size: int) -> TimeShift:
        """The time shift of the sampler, as the scheduler's configuration says it.

        `time_shift_base_res` is the side, in pixels, of the square picture that is not shifted (320 if it does not
        say); `dynamic_time_shift` false is no shift; `shift` is the same one for every size, whatever else it says.

        Args:
            patch_size: The transformer's.

        Raises:
            GenerateError: If the configuration says what is not known here.
        """
        fields = replace(self._fields("scheduler", "scheduler_config.json"), remedy=OTHER_SHIFT)
        named = [name for name in fields.values if not name.startswith("_")]
        for name in named:
            if name not in SHIFTS and name not in WITHOUT_EFFECT:
                known = ", ".join(sorted((*SHIFTS, *WITHOUT_EFFECT)))
                raise GenerateError(f"{fields.where} has the key {name}, known are {known}", OTHER_SHIFT)
        if fields.has("_class_name") and fields.text("_class_name") != SCHEDULER_CLASS:
            raise fields.refusal("_class_name", f"{SCHEDULER_CLASS}: the solver is chosen when sampling")
        for name, values in WITHOUT_EFFECT.items():
            fields.inert(name, *values)
        said = {name for name in SHIFTS if fields.has(name)}
        dynamic = fields.flag("dynamic_time_shift") if "dynamic_time_shift" in said else True
        fixed = fields.number("shift") if "shift" in said else 1.0
        base = fields.number("time_shift_base_res") if "time_shift_base_res" in said else LATENT_SIDE * REDUCTION
        if fixed <= 0 or base <= 0:
            raise fields.refusal("shift" if fixed <= 0 else "time_shift_base_res", "a positive number")
        if "time_shift_base_res" in said and (fixed != 1 or not dynamic):
            other = "shift" if fixed != 1 else "dynamic_time_shift false"
            raise GenerateError(f"{fields.where} has time_shift_base_res and {other}", "take one of them out")
        if "shift" in said and (fixed != 1 or not {"dynamic_time_shift", "time_shift_base_res"} & said):
            return FixedShift(fixed)
        return SquareRootShift(side=base / REDUCTION / patch_size) if dynamic else IdentityShift()

    def _fields(self, part: str, name: str) -> Fields:
        path = self.part(part) / name
        if not path.is_file():
            raise GenerateError(f"{path} is missing", DOWNLOAD)
        return read_object(path, GenerateError, "download the file again")

    def bridge(self) -> HiddenStateBridge:
        """Which hidden states the transformer was trained with: `bridge` in `model_index.json`, if it says.

        Returns:
            The released model's bridge (text tokens and template) for folders that say nothing.

        Raises:
            GenerateError: If what it says is no bridge.
        """
        index = self.path / INDEX
        said: Any = self.config(".", index.name).get("bridge", {}) if index.exists() else {}
        choices = {"tokens": get_args(KeptTokens), "template": get_args(KeptTemplate)}
        if not isinstance(said, dict) or any(value not in choices.get(key, ()) for key, value in said.items()):
            raise GenerateError(f"{index} has the bridge {said}", f"expected a mapping with any of {choices}")
        return HiddenStateBridge(**said)

    def untrained(self) -> tuple[str, ...]:
        """Parts that nobody has trained, as `model_index.json` says; none if it says nothing.

        Raises:
            GenerateError: If what it says are no names.
        """
        index = self.path / INDEX
        said = read_object(index, GenerateError, "expected a list of parts") if index.is_file() else None
        return said.texts("untrained") if said is not None and said.has("untrained") else ()

    def sampling(self) -> Sampling:
        """How pictures are drawn where nobody says otherwise: as officially, but for what `said_sampling` finds.

        Raises:
            GenerateError: If what the folder says is no sampling.
        """
        return Sampling(**said_sampling(self.path))


def said_sampling(folder: Path) -> dict[str, Any]:
    """Keywords of `Sampling` that a model was trained for: `sampling` in `model_index.json`, if it says.

    A student of few steps says them (`omnigen2.training.distillation`); the released model says nothing.

    Raises:
        GenerateError: If what it says is no sampling.
    """
    index = folder / INDEX
    whole = read_object(index, GenerateError) if index.is_file() else None
    if whole is None or not whole.has("sampling"):
        return {}
    fields = replace(whole.object("sampling"), remedy="take it out of the file, and say how to draw yourself")
    fields.only(*SAMPLING)
    said = {name: read(fields, name) for name, read in SAMPLING.items() if fields.has(name)}
    try:
        Sampling(**said)
    except GenerateError as error:
        raise error.at(str(index)) from error
    return said


def sampling_config(sampling: Sampling) -> dict[str, Any]:
    """What `sampling` in `model_index.json` says of a sampling, that is not usual: the inverse of `said_sampling`.

    Raises:
        GenerateError: If it cannot say this sampling.
    """
    usual = asdict(Sampling())
    said = {name: value for name, value in asdict(sampling).items() if value != usual[name]}
    if other := sorted(said.keys() - SAMPLING.keys()):
        raise GenerateError(f"a model folder cannot say {', '.join(other)}", f"known are {', '.join(SAMPLING)}")
    return said


def say_sampling(folder: Path, sampling: Sampling) -> None:
    """Write into a model folder's `model_index.json` how pictures are drawn with it.

    Raises:
        GenerateError: If it cannot say this sampling, or there is no such file.
    """
    said = sampling_config(sampling)
    whole = {**read_object(folder / INDEX, GenerateError).values, "sampling": said}
    write_json(folder / INDEX, whole if said else {name: whole[name] for name in whole if name != "sampling"})


def scheduler_config(shift: TimeShift, patch_size: int) -> dict[str, Any]:
    """What `scheduler_config.json` says of a shift: the inverse of `ModelFolder.shift`.

    Raises:
        GenerateError: If it cannot say this shift.
    """
    content: dict[str, Any] = {
        "_class_name": SCHEDULER_CLASS,
        "dynamic_time_shift": isinstance(shift, SquareRootShift),
        "num_train_timesteps": 1000,
    }
    match shift:
        case IdentityShift():
            return content
        case FixedShift(m):
            return content | {"shift": m}
        case SquareRootShift(side):
            base = side * patch_size * REDUCTION
            return content if base == LATENT_SIDE * REDUCTION else content | {"time_shift_base_res": base}
        case _:
            known = "IdentityShift, FixedShift and SquareRootShift"
            raise GenerateError(
                f"a model folder cannot hold the shift {type(shift).__name__}, only {known}", "set saved: transformer"
            )


def shift_text(shift: TimeShift, patch_size: int) -> str:
    """One line that tells a shift to people: what stands in a picture's parameters and in results."""
    match shift:
        case IdentityShift():
            return "none"
        case FixedShift(m):
            return f"fixed, {m:g}"
        case SquareRootShift(side):
            return f"square root of the size, none at {side * patch_size * REDUCTION:g} pixels"
        case _:
            return repr(shift)
