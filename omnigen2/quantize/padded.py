"""A linear layer whose matrix is padded to the widths that a kernel wants."""

from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override


class PaddedLinear(nn.Linear):
    """The same product as that of another layer, by a matrix with rows and columns of zeros at its end.

    `in_features` and `out_features` are those of the other layer; `weight` and `bias` are wider.

    Args:
        layer: Its parameters are copied, frozen.
        multiple: Both widths are rounded up to a multiple of it.

    Example:
        >>> import torch
        >>> layer = nn.Linear(2520, 40)
        >>> padded = PaddedLinear(layer, 16)
        >>> tuple(padded.weight.shape), padded(torch.ones(3, 2520)).shape
        ((48, 2528), torch.Size([3, 40]))
    """

    def __init__(self, layer: nn.Linear, multiple: int) -> None:
        super().__init__(layer.in_features, layer.out_features, layer.bias is not None, device="meta")  # pyright: ignore[reportUnnecessaryComparison]
        self.columns, rows = (-size % multiple for size in (layer.in_features, layer.out_features))
        self.weight = nn.Parameter(F.pad(layer.weight.detach(), (0, self.columns, 0, rows)), requires_grad=False)
        if layer.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
            self.bias = nn.Parameter(F.pad(layer.bias.detach(), (0, rows)), requires_grad=False)

    @override
    def forward(self, input: Tensor) -> Tensor:
        wide = F.pad(input, (0, self.columns)) if self.columns else input
        return F.linear(wide, self.weight, self.bias)[..., : self.out_features]
