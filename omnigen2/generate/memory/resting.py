"""Models whose weights are where they are computed with only as long as they have something to do."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import torch
from torch import nn

from omnigen2.generate.memory.lent import Lent
from omnigen2.generate.memory.streamed import Streamed, streamable

Offload: TypeAlias = Literal["none", "idle", "stages", "blocks"]
"""Which weights wait in the host's memory while others work: none; those of the encoders; those of whatever model does
not work; and in a model that works, those of the blocks that do not."""


class Resting:
    """A model that rests in the host's memory, best in pages of its files, and works while it is awake.

    What it computes does not change. It rests from the moment this is made: its parameters stay the same objects, with
    the device and the number format that they work in. What is added later, such as an adapter, stays where it is.

    Args:
        model: In the host's memory.
        device: Where it works.
        dtype: What it works in; what its parameters are in if None.
        blocks: Whether the members of its lists of modules have their weights one after another, see `streamable`.
        once: If not, those of its modules that have them so all the same, as they work at the beginning alone.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        >>> model, x = nn.Sequential(nn.Linear(4, 4), *layers), torch.ones(4)
        >>> expected = model.bfloat16().float()(x)
        >>> resting = Resting(model.bfloat16(), torch.device("cpu"), torch.float32)
        >>> with resting.awake():
        ...     assert torch.equal(model(x), expected)
        >>> bool(model[0].weight.isnan().all())
        True
    """

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        dtype: torch.dtype | None = None,
        blocks: bool = False,
        once: Sequence[nn.Module] = (),
    ) -> None:
        members = streamable(model) if blocks else once
        inside = {id(parameter) for member in members for parameter in member.parameters()}
        self.rest = Lent((one for one in model.parameters() if id(one) not in inside), device, dtype)
        self.streamed = Streamed(members, device, dtype) if members else None
        self._awake = False
        for module in model.modules():
            for name, buffer in list(module.named_buffers(recurse=False)):
                setattr(module, name, buffer.to(device))
        self._take_back()

    @contextmanager
    def awake(self) -> Generator[None]:
        """Let the model work as long as the context lasts; inside another one nothing happens.

        Yields:
            Nothing.
        """
        if self._awake:
            yield
            return
        self._awake = True
        try:
            self.rest.lend()
            yield
        finally:
            self._awake = False
            self._take_back()

    def _take_back(self) -> None:
        self.rest.take_back()
        if self.streamed is not None:
            self.streamed.take_back()
