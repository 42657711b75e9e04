"""Joint samples that share segments: embedded and refined once, attending as if repeated."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.dit import Inputs
from omnigen2.dit.routing import joint_layout, own_segments
from omnigen2.layout import ImageSegment, Layout, TextSegment, unpack
from tests.strategies import SMALL, layouts, make_inputs, seeds, small_dit

DIT = small_dit()
close = {"rtol": 1e-4, "atol": 1e-4}


@st.composite
def shared_batches(draw):
    """A layout, and joint samples that take some text, some references and a target from anywhere in it."""
    layout = draw(layouts(max_samples=3))
    numbers = range(len(layout.segments()))
    segments = [segment for sample in layout.batch for segment in sample]
    kinds = {kind: [n for n in numbers if segments[n].kind == kind] for kind in ("text", "reference", "target")}
    own = own_segments(layout)
    extra = []
    for _ in range(draw(st.integers(0, 3))):
        text = draw(st.lists(st.sampled_from(kinds["text"]), max_size=1)) if kinds["text"] else []
        references = draw(st.lists(st.sampled_from(kinds["reference"]), max_size=4)) if kinds["reference"] else []
        target = draw(st.lists(st.sampled_from(kinds["target"]), max_size=1)) if kinds["target"] else []
        extra += [(*text, *references, *target)] if text or references or target else []
    return layout, tuple(draw(st.permutations([*own, *extra])))


@torch.no_grad()
@given(shared_batches(), seeds)
def test_sharing_segments_is_repeating_them(batch, seed: int) -> None:
    """Each segment embedded and refined once, or once in every joint sample: the same velocities.

    Without image index, which a repeated reference would have by its place in each joint sample.
    """
    dit = small_dit(config=replace(SMALL, max_references=0))
    layout, joint = batch
    x_t, t, inputs = make_inputs(layout, seed)
    together = joint_layout(layout, joint)
    segments = [segment for sample in layout.batch for segment in sample]

    def repeat(states: Tensor, kind: str) -> Tensor:
        numbers = [number for number, segment in enumerate(segments) if segment.kind == kind]
        pieces = dict(zip(numbers, unpack(states, layout.segments(kind)), strict=True))
        return torch.cat([states[:0], *(pieces[n] for sample in joint for n in sample if n in pieces)])

    repeated = Inputs(together, repeat(inputs.text, "text"), repeat(inputs.references, "reference"))
    t = t[:1].expand(len(layout))  # references are refined at one time only, wherever they stand
    shared = dit(x_t, t, inputs._replace(joint=joint))
    expected = dit(repeat(x_t, "target"), t[:1].expand(len(joint)), repeated)
    torch.testing.assert_close(shared, expected, **close)


@torch.no_grad()
@given(layouts(needs_target=True), seeds)
def test_a_joint_sample_has_the_time_of_its_target(layout: Layout, seed: int) -> None:
    """Without texts and references around it, each target alone, in another order and twice."""
    x_t, t, inputs = make_inputs(layout, seed)
    targets = [sample[-1:] for sample in layout.batch]
    alone = Layout(tuple(targets))
    inputs = Inputs(alone, inputs.text[:0], inputs.references[:0])
    once = unpack(DIT(x_t, t, inputs), alone.samples)
    order = [*reversed(range(len(alone))), 0]
    joint = tuple((number,) for number in order)
    shared = DIT(x_t, t, inputs._replace(joint=joint))
    torch.testing.assert_close(shared, torch.cat([once[number] for number in order]), **close)


def test_joint_samples_use_every_segment_and_no_other() -> None:
    layout = Layout(((TextSegment(3), ImageSegment(2, 2, "target")),))
    x_t, t, inputs = make_inputs(layout, 0)
    for joint, used in ((((1,),), r"\[1\]"), (((0, 1, 2),), r"\[0, 1, 2\]")):
        with pytest.raises(ValueError, match=rf"the segments {used}, but the layout has the segments 0 to 1; use each"):
            DIT(x_t, t, inputs._replace(joint=joint))
    with pytest.raises(ValueError, match=r"segments \['target', 'text'\]; expected"):
        DIT(x_t, t, inputs._replace(joint=((1, 0),)))
