"""Batches without references on several processes: every parameter takes part in every step and drawing."""

from collections.abc import Callable

import torch
from torch import Tensor

from omnigen2.data.batches import Example
from omnigen2.dit import DiffusionTransformer, Inputs
from omnigen2.layout import ImageSegment, Layout


def with_companion(dit: DiffusionTransformer, inputs: Inputs) -> Callable[[Tensor, Tensor], Tensor]:
    """The velocity model of a batch, in which the parts for references run even if it has none.

    Processes that train together must run the same parts: DDP waits for the gradient of every parameter, and FSDP2
    gathers a part's weights on all processes or hangs. Here a batch without references gets one more sample, a single
    reference of one token without text or target. It attends to itself alone and nothing is drawn for it: velocities
    stay as they are, and the parameters that only references reach get gradients of zero in place of none.

    Returns:
        `(x_t, t) -> velocity`, for the batch's own samples.
    """
    layout = inputs.layout
    if inputs.joint is not None or len(layout.segments("reference")):
        return lambda x_t, t: dit(x_t, t, inputs)
    wider = Inputs(
        Layout((*layout.batch, (ImageSegment(1, 1, "reference"),))),
        inputs.text,
        inputs.text.new_zeros(1, dit.config.patch_channels),
    )
    return lambda x_t, t: dit(x_t, torch.cat([t, t.new_zeros(1)]), wider)


def companion_example(side: int) -> Example:
    """What to draw beside examples without references where other processes may draw some with references.

    It has no words, and a reference and a target of one token, which is `side` pixels wide.
    """
    picture = torch.zeros(3, side, side)
    return Example("edit", "companion", "companion", "", True, (picture,), picture, answer=None, meta="")
