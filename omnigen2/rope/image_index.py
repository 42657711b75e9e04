"""A learned vector per reference: which of the input images a token belongs to."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from omnigen2.layout import Layout, TokenIndex, TokenStates


class ImageIndexEmbedding(nn.Module):
    """Adds to every reference token a vector that says whether it belongs to the first, second, … reference.

    The numbers are those of `Layout.reference_numbers`, below `max_references`.

    Args:
        max_references: Number of vectors, so the largest number of references in one sample.
        hidden_size: Channels.

    Source: arXiv:2506.18871, Table 1, last row; the released model has 5 vectors.
    """

    def __init__(self, max_references: int, hidden_size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(max_references, hidden_size))
        self.reset_parameters()

    @property
    def max_references(self) -> int:
        """Largest number of references in one sample."""
        return self.weight.shape[0]

    def reset_parameters(self) -> None:
        """Draw the vectors from a normal distribution of standard deviation 0.02."""
        nn.init.normal_(self.weight, std=0.02)

    def check(self, layout: Layout) -> None:
        """Refuse a batch with more references in a sample than there are vectors.

        Raises:
            ValueError: If a sample has too many references.
        """
        for number, sample in enumerate(layout.batch):
            references = sum(segment.kind == "reference" for segment in sample)
            if references > self.max_references:
                raise ValueError(
                    f"sample {number} has {references} references, but the image index embedding knows "
                    f"{self.max_references}; leave some out, or build the model with max_references={references}"
                )

    @override
    def forward(self, references: TokenStates, numbers: TokenIndex) -> TokenStates:
        vectors: Tensor = F.embedding(numbers, self.weight)
        return references + vectors
