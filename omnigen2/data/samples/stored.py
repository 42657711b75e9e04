"""Numbers that were computed before training, as they lie in the chunks."""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from jaxtyping import Float
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
                f"{expected} bytes; write the chunks again"
            )

    @classmethod
    def of(cls, values: Float[Tensor, "..."], stored_as: NumberType) -> "StoredTensor":
        """Round numbers to what is stored.

        Args:
            values: On any device.
            stored_as: The type of the numbers.

        Returns:
            The same numbers, rounded.

        Raises:
            DataError: If a number is not finite, or becomes so by rounding.
        """
        dtype = DTYPES[stored_as]
        rounded = values.detach().cpu().to(dtype).contiguous()
        if not rounded.isfinite().all():
            raise DataError(
                f"the largest of {values.numel()} numbers is {float(values.abs().max())}, which is not finite as "
                f"{stored_as}; store float32, or check the model and the sample"
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
