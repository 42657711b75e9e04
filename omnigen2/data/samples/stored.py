"""Numbers that were computed before training, as they lie in the chunks, and the account of what made them."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, Literal, TypeAlias, TypeVar, get_args

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from torch import Tensor

from omnigen2.data.samples.errors import DataError

NumberType: TypeAlias = Literal["float16", "bfloat16", "float32"]
NUMBER_TYPES: tuple[NumberType, ...] = get_args(NumberType)
DTYPES: dict[NumberType, torch.dtype] = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
}
NAMES: dict[torch.dtype, NumberType] = {dtype: name for name, dtype in DTYPES.items()}
BITS: dict[int, tuple[str, torch.dtype]] = {2: ("<i2", torch.int16), 4: ("<i4", torch.int32)}
"""By bytes of a number: an integer of its size, as numpy writes it little endian and as torch has it."""


Own = TypeVar("Own", bound="Origin")
Made = TypeVar("Made", bound="Origin", covariant=True)
Given = TypeVar("Given", contravariant=True)


class Mismatch(DataError):
    """What is stored is not what a training needs. A fault of the settings, never of one sample."""


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as bytes.

    Attributes:
        shape: Of the tensor.
        stored_as: The type of the numbers.
        content: The numbers, little endian, last axis fastest.

    Raises:
        DataError: If the bytes are not as many as the shape says.
    """

    shape: tuple[int, ...]
    stored_as: NumberType
    content: bytes

    def __post_init__(self) -> None:
        expected = math.prod(self.shape) * DTYPES[self.stored_as].itemsize
        if len(self.content) != expected:
            raise DataError(
                f"a tensor has shape {self.shape} as {self.stored_as} and {len(self.content)} bytes, expected "
                f"{expected} bytes",
                "write the chunks again",
            )

    @classmethod
    def of(cls, values: Float[Tensor, "..."], stored_as: NumberType) -> "StoredTensor":
        """Round numbers, on any device, to what is stored.

        Raises:
            DataError: If a number is not finite, or becomes so by rounding.
        """
        dtype = DTYPES[stored_as]
        rounded = values.detach().cpu().to(dtype).contiguous()
        if not rounded.isfinite().all():
            raise DataError(
                f"the largest of {values.numel()} numbers is {float(values.abs().max())}, which is not finite as "
                f"{stored_as}",
                "store float32, or check the model and the sample",
            )
        little, bits = BITS[dtype.itemsize]
        return cls(tuple(values.shape), stored_as, rounded.view(bits).numpy().astype(little).tobytes())

    @property
    def tensor(self) -> Float[Tensor, "..."]:
        """The numbers as stored, on the CPU."""
        dtype = DTYPES[self.stored_as]
        little, bits = BITS[dtype.itemsize]
        numbers = np.frombuffer(self.content, little).astype(little.replace("<", "="))
        return torch.from_numpy(numbers).to(bits).view(dtype).reshape(self.shape)


class Origin(ABC):
    """What made numbers of one kind: equal origins make equal numbers, but for rounding."""

    kind: ClassVar[str]
    """What people call the numbers."""
    file: ClassVar[str]
    """The account's name, beside the chunks."""

    @property
    @abstractmethod
    def number_type(self) -> NumberType:
        """How numbers are stored."""

    @property
    @abstractmethod
    def shape(self) -> str:
        """The shape of each tensor, in words."""

    @abstractmethod
    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor may have this shape."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write the account into a folder of chunks."""

    @classmethod
    @abstractmethod
    def read(cls: type[Own], file: Path) -> Own:
        """Read what `save` wrote; a DataError says that it has another format, any other error that it is damaged."""

    @classmethod
    def load(cls: type[Own], folder: Path) -> Own | None:
        """Read the account of a folder of chunks; None if they have no such numbers.

        Raises:
            DataError: If the file is damaged or of another format.
        """
        file = folder / cls.file
        if not file.is_file():
            return None
        try:
            return cls.read(file)
        except DataError:
            raise
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise DataError(f"{file} is damaged ({error!r})", "copy it anew or write the chunks again") from error

    def check(self, where: str, **wanted: object) -> None:
        """Refuse numbers of another origin than a training's.

        Args:
            where: Names the data in the message.
            **wanted: What some of the origin's attributes are in the training.

        Raises:
            Mismatch: If one of them differs.
        """
        for name, value in wanted.items():
            if (got := getattr(self, name)) != value:
                raise Mismatch(
                    f"the {self.kind} of {where} were made with the {name} {got}, but this training has {value}",
                    "use the same, or set `precomputed: ignore` to compute them anew, or write the chunks again",
                )


@dataclass(frozen=True)
class Stored(Generic[Made]):
    """What was computed of a sample: tensors as bytes, and what made them.

    Raises:
        DataError: If a tensor has another shape, or numbers of another type, than the origin says.
    """

    tensors: tuple[StoredTensor, ...]
    origin: Made

    def __post_init__(self) -> None:
        expected = self.origin
        for tensor in self.tensors:
            if not expected.fits(tensor.shape) or tensor.stored_as != expected.number_type:
                raise DataError(
                    f"{expected.kind} have shape {tensor.shape} as {tensor.stored_as}, expected {expected.shape} as "
                    f"{expected.number_type}",
                    "write the chunks again",
                )


@dataclass(frozen=True)
class Loaded(Generic[Made]):
    """The same of an example in a batch, where it can be calculated with."""

    tensors: tuple[Tensor, ...]
    origin: Made

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Loaded[Made]":
        """The same on a device."""
        return Loaded(tuple(tensor.to(device, non_blocking=non_blocking) for tensor in self.tensors), self.origin)


class SampleEncoder(ABC, Generic[Given, Made]):
    """Computes for `optimize` what is stored of a sample with a target.

    Attributes:
        origin: What it makes it of, and how.
    """

    origin: Made

    @abstractmethod
    def compute(self, given: Given) -> Sequence[Tensor]:
        """Tensors as `origin` describes them; called from several threads."""

    def of(self, given: Given) -> Stored[Made]:
        """The same as it is stored."""
        stored = (StoredTensor.of(values, self.origin.number_type) for values in self.compute(given))
        return Stored(tuple(stored), self.origin)
