"""The toy model: the library's transformer, a learned text that states k, and a learned mask for the target."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from typing_extensions import override

from omnigen2.dit import DiffusionTransformer, Inputs, TransformerConfig
from omnigen2.rope import PositionScheme
from omnigen2.rope_toy.task import CopyTask, Patches, ToyBatch


class CopyModel(nn.Module):
    """Answers questions of a `CopyTask`.

    The text is a few learned tokens; a learned vector per k is added to the last of them. Models built from the same
    random state share all weights whatever their positions, and all but the index embedding whether they have one.

    Args:
        task: The questions.
        config: Sizes of the transformer; its `max_references` is replaced.
        positions: Where tokens stand.
        image_index: Whether references carry an index embedding. It has a vector more than the task has
            pictures, so that a model can be tested with one picture more.

    Raises:
        ValueError: If the task and the transformer have different patch sizes, or pictures are not in colour.
    """

    def __init__(
        self, task: CopyTask, config: TransformerConfig, positions: PositionScheme, image_index: bool = False
    ) -> None:
        super().__init__()
        if config.patch_size != task.patch_size or config.in_channels != 3:
            raise ValueError(
                f"the task cuts pictures of 3 channels into patches of {task.patch_size}, but the transformer expects "
                f"in_channels={config.in_channels}, patch_size={config.patch_size}; make them agree"
            )
        self.words = nn.Parameter(torch.randn(task.text_tokens, config.text_dim))
        self.numbers = nn.Parameter(torch.randn(task.max_asked, config.text_dim))
        self.mask = nn.Parameter(torch.randn(config.patch_channels))
        references = task.max_references + 1 if image_index else 0
        self.dit = DiffusionTransformer(replace(config, max_references=references), positions)

    def inputs(self, batch: ToyBatch) -> Inputs:
        """What the transformer is conditioned on."""
        return Inputs(batch.layout, self.text(batch.asked), batch.references)

    def text(self, asked: Int[Tensor, " samples"]) -> Float[Tensor, "tokens text_dim"]:
        """The features of the texts that ask for a picture, counted from 0; `text_tokens` for each sample."""
        common = self.words[:-1].expand(len(asked), -1, -1)
        stated = (self.words[-1] + self.numbers[asked])[:, None]
        return torch.cat((common, stated), dim=1).flatten(0, 1)

    @override
    def forward(self, batch: ToyBatch) -> Patches:
        """Answer directly: every target token is the mask vector, the time is 0, and the output is the picture."""
        start = self.mask.expand(batch.target.shape)
        time = torch.zeros(len(batch.layout), device=start.device)
        return self.dit(start, time, self.inputs(batch))
