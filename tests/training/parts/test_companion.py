"""Batches without references on several processes: nothing changes, and every parameter takes part."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.dit import DiffusionTransformer, Inputs
from omnigen2.generate.tiny import tiny_transformer
from omnigen2.layout import ImageSegment, Layout, TextSegment
from omnigen2.training.parts import with_companion


def gradients(dit: DiffusionTransformer, velocity: torch.Tensor) -> dict[str, torch.Tensor | None]:
    dit.zero_grad()
    velocity.square().sum().backward()
    return {name: value.grad for name, value in dit.named_parameters()}


@settings(max_examples=10, deadline=None)
@given(
    sides=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3), st.booleans()), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_every_parameter_gets_a_gradient_and_none_changes(sides: list[tuple[int, int, bool]], seed: int) -> None:
    torch.manual_seed(seed)
    dit = tiny_transformer(seed)
    samples = [
        (
            *([TextSegment(text)] if text else []),
            *([ImageSegment(1, side, "reference")] if reference else []),
            ImageSegment(side, 2, "target"),
        )
        for text, side, reference in sides
    ]
    layout = Layout(tuple(samples))
    texts, references, targets = (layout.segments(kind).total for kind in ("text", "reference", "target"))
    inputs = Inputs(layout, torch.randn(texts, dit.config.text_dim), torch.randn(references, dit.config.patch_channels))
    x_t, t = torch.randn(targets, dit.config.patch_channels), torch.rand(len(layout))
    plain, accompanied = dit(x_t, t, inputs), with_companion(dit, inputs)(x_t, t)
    torch.testing.assert_close(accompanied, plain, rtol=1e-5, atol=1e-6)
    before, after = gradients(dit, plain), gradients(dit, with_companion(dit, inputs)(x_t, t))
    missing = [name for name, value in after.items() if value is None and not (texts == 0 and "text" in name)]
    assert not missing
    for name, value in after.items():
        if value is not None:
            expected = before[name]
            expected = torch.zeros_like(value) if expected is None else expected
            # the longer batch is summed in another order: what is rounded off grows with the largest gradient
            largest = max(1.0, float(expected.abs().max()))
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5 * largest)
