"""The arithmetic counted from the layout is the arithmetic that runs."""

from hypothesis import given
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from omnigen2.dit.flops import forward_flops
from omnigen2.dit.routing import own_segments
from omnigen2.layout import Layout
from tests.strategies import SMALL, layouts, make_inputs, small_dit


@given(layouts(), st.booleans())
def test_counted_flops_are_those_that_run(layout: Layout, shared: bool) -> None:
    x_t, t, inputs = make_inputs(layout, 0)
    joint = own_segments(layout) * 2 if shared else None
    # the counter does not know the fused CPU kernel
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        small_dit()(x_t, t, inputs._replace(joint=joint))
    assert forward_flops(SMALL, layout, joint) == counter.get_total_flops()
