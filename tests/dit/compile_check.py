"""Run by test_model: the transformer is one graph, with the same outputs and gradients as uncompiled."""

import sys

import torch

from omnigen2.layout import ImageSegment, Layout, TextSegment
from tests.strategies import make_inputs, small_dit

torch.set_num_threads(1)
ONE = Layout(((TextSegment(3), ImageSegment(2, 2, "reference"), ImageSegment(2, 3, "target")), (TextSegment(2),)))
OTHER = Layout(
    ((TextSegment(5), ImageSegment(1, 3, "target")), (ImageSegment(2, 1, "reference"), ImageSegment(1, 1, "target")))
)


def outcome(call, layout: Layout) -> list[torch.Tensor]:
    """Output and gradients."""
    dit = small_dit()
    x_t, t, inputs = make_inputs(layout, 0)
    condition = dit.prepare(inputs)
    velocity = call(dit)(x_t, t, condition)
    velocity.square().sum().backward()
    return [velocity, *(weight.grad for weight in dit.parameters() if weight.grad is not None)]


for layout in (ONE, OTHER):
    expected = outcome(lambda dit: dit, layout)
    compiled = outcome(lambda dit: torch.compile(dit, fullgraph=True, backend=sys.argv[1]), layout)
    assert len(expected) == len(compiled) > 50
    for actual, wanted in zip(compiled, expected, strict=True):
        torch.testing.assert_close(actual, wanted, rtol=1e-3, atol=1e-4 * wanted.abs().max().item())
print("one graph")
