"""One part was taken alone and used wrongly: it was built all the same, and failed later or gave something else.

Choices are looked at when a part is built, shapes when it is called, and what can only be meant in one way is taken so.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from PIL import Image

from omnigen2.dit import DiffusionTransformer, Inputs, attend
from omnigen2.dit.backends import Borders
from omnigen2.encoders import HiddenStateBridge, ImageToken, Message, PromptRules, token_roles
from omnigen2.errors import UserError
from omnigen2.flow import (
    AtTokens,
    DPMSolver,
    FixedShift,
    IdentityShift,
    LogitNormalTimes,
    RectifiedFlowObjective,
    RescaledGuidance,
    SquareRootShift,
    StratifiedTimes,
    UniformTimes,
    ZeroStarGuidance,
    time_grid,
)
from omnigen2.layout import ImageSegment, Layout, TextSegment
from omnigen2.rope import OmniPositions, RotaryEmbedding, Rotation, apply_rotation
from tests.strategies import SMALL, make_inputs, small_dit

pytestmark = pytest.mark.usefixtures("unchecked")
LAYOUT = Layout(((TextSegment(3), ImageSegment(2, 2, "target")), (TextSegment(1), ImageSegment(1, 2, "target"))))

BUILT: dict[str, tuple[Callable[..., Any], str]] = {
    "role": (lambda: ImageSegment(4, 4, "output"), "'output', expected one of 'reference', 'target'"),
    "kind": (lambda: LAYOUT.segments("image"), "'image', expected one of 'text', 'reference', 'target'"),
    "kind of samples": (lambda: LAYOUT.per_sample("image"), "'image'"),
    "kind of indices": (lambda: LAYOUT.indices("image"), "'image'"),
    "advance": (lambda: OmniPositions(advance="one"), "'one', expected one of 'extent', 'consecutive'"),
    "target": (lambda: OmniPositions(target="middle"), "'middle'"),
    "length": (lambda: TextSegment(2.5), "TextSegment is 2.5, expected a whole number"),
    "text for a length": (lambda: TextSegment("3"), "'3', expected a whole number"),
    "height": (lambda: ImageSegment(4.0, 4, "target"), "4.0, expected a whole number"),
    "width": (lambda: ImageSegment(4, True, "target"), "True, expected a whole number"),
    "steps": (lambda: time_grid(2.5, IdentityShift(), [16]), "steps of time_grid is 2.5, expected a int"),
    "two axes": (lambda: RotaryEmbedding((8, 8)), r"three axes .*got \(8, 8\)"),
    "odd axes": (lambda: RotaryEmbedding((8, 7, 8)), "must be even"),
    "axes of floats": (lambda: RotaryEmbedding((8.0, 8, 8)), "three axes"),
    "theta": (lambda: RotaryEmbedding((8, 8, 8), float("nan")), "theta must be above 1"),
    "tokens": (lambda: HiddenStateBridge(tokens="txt"), "'txt', expected one of 'text', 'all'"),
    "template": (lambda: HiddenStateBridge(template=True), "True, expected one of 'keep', 'drop'"),
    "sees": (lambda: PromptRules(sees="images"), "'images'"),
    "overflow": (lambda: PromptRules(overflow="truncate"), "'truncate'"),
    "speaker": (lambda: Message("bot", "hi"), "'bot'"),
    "initial": (lambda: ImageToken.of(torch.nn.Identity(), 0, initial="zero"), "'zero'"),
    "backend": (lambda: DiffusionTransformer(SMALL, backend="flash"), "'flash', expected one of 'auto', 'sdpa'"),
    "checkpointing": (lambda: DiffusionTransformer(SMALL, checkpointing=["layers"]), "'layers'"),
    "positions": (lambda: DiffusionTransformer(SMALL, positions="omni"), "expected a PositionScheme"),
    "order": (lambda: DPMSolver(order=4), "4, expected one of 2, 3"),
    "order that is true": (lambda: DPMSolver(order=2.0), "2.0, expected"),
    "correction": (lambda: DPMSolver(correction="euler"), "'euler'"),
    "second difference": (lambda: DPMSolver(second_difference="half"), "'half'"),
    "swapped": (lambda: RectifiedFlowObjective(IdentityShift(), UniformTimes()), "sampler .*expected a TimeSampler"),
    "shift": (lambda: RectifiedFlowObjective(UniformTimes(), LogitNormalTimes()), "expected a TimeShift"),
    "shift of a grid": (lambda: time_grid(4, 3.0, [16]), "3.0, expected a TimeShift"),
    "shift at tokens": (lambda: AtTokens(UniformTimes(), 16), "expected a TimeShift"),
    "strata": (lambda: StratifiedTimes(SquareRootShift()), "expected a TimeDistribution"),
    "inner": (lambda: RescaledGuidance(4.0), "expected a Guidance"),
    "inner of zero star": (lambda: ZeroStarGuidance(None), "expected a Guidance"),
}


@pytest.mark.parametrize("name", BUILT)
def test_a_choice_that_there_is_not_is_refused_when_a_part_is_built(name: str) -> None:
    build, message = BUILT[name]
    with pytest.raises(ValueError, match=message):
        build()


def rotation(tokens: int, half: int = 8) -> Rotation:
    angle = torch.randn(tokens, half, generator=torch.Generator().manual_seed(0))
    return Rotation(angle.cos(), angle.sin())


def test_rotations_go_along_the_tokens_or_not_at_all() -> None:
    turn, states = rotation(5), torch.randn(5, 3, 16, generator=torch.Generator().manual_seed(1))
    expected = apply_rotation(states, turn)
    dense = torch.stack((states, 2 * states))
    torch.testing.assert_close(apply_rotation(dense, turn), torch.stack((expected, 2 * expected)))
    wrong = [(37, 16), (4, 3, 16), (5, 3, 14), (2, 3, 5, 16), (5, 16), (2, 2, 5, 3, 16), (5, 1, 8)]
    for shape in wrong:
        with pytest.raises(ValueError, match="tokens before heads"):
            apply_rotation(torch.zeros(shape), turn)
    with pytest.raises(ValueError, match="does not say whether tokens or heads come first"):
        apply_rotation(torch.zeros(2, 5, 5, 16), turn)


def test_a_mask_is_no_role() -> None:
    bridge = HiddenStateBridge()
    ids, mask = torch.tensor([[5, 6, 9, 0]]), torch.tensor([[1, 1, 1, 0]])
    for wrong in (mask, mask.bool(), mask.int()):
        with pytest.raises(ValueError, match="which is a mask: .*token_roles makes roles"):
            bridge.borders(wrong)
    assert bridge.borders(token_roles(ids, mask, image_ids=(9,))).lengths == (2,)
    assert bridge.borders(torch.tensor([[1, 1, 0]], dtype=torch.int8)).lengths == (2,)


def test_inputs_need_no_references_where_there_are_none() -> None:
    dit = small_dit()
    x_t, t, inputs = make_inputs(LAYOUT, 0)
    alone = Inputs(LAYOUT, inputs.text)
    torch.testing.assert_close(dit(x_t, t, alone), dit(x_t, t, inputs), rtol=0, atol=0)
    wanting = Layout(((TextSegment(3), ImageSegment(1, 2, "reference"), ImageSegment(2, 2, "target")),))
    with pytest.raises(ValueError, match=r"got reference patches of shape \(0, .*expect \(2, "):
        dit.prepare(Inputs(wanting, inputs.text[:3]))


def test_one_time_may_be_a_number() -> None:
    dit = small_dit()
    x_t, t, inputs = make_inputs(LAYOUT, 0)
    expected = dit(x_t, torch.full_like(t, 0.25), inputs)
    torch.testing.assert_close(dit(x_t, 0.25, inputs), expected, rtol=0, atol=0)
    assert torch.isfinite(dit(x_t, 1, inputs)).all()


@pytest.mark.parametrize("wrong", [500.0, -0.1, 1.5, float("nan")])
def test_times_of_another_scale_are_refused(wrong: float) -> None:
    dit = small_dit()
    x_t, t, inputs = make_inputs(LAYOUT, 0)
    for given in (wrong, torch.full_like(t, wrong)):
        with pytest.raises(ValueError, match=r"times must be in \[0, 1\]"):
            dit(x_t, given, inputs)


def test_an_unknown_backend_does_not_attend() -> None:
    borders = Borders.of(LAYOUT.samples, torch.device("cpu"))
    states = torch.zeros(LAYOUT.tokens, 2, 4)
    with pytest.raises((UserError, AssertionError)):
        attend(states, states, states, borders, "flash")


def test_pictures_of_other_speakers_are_refused() -> None:
    with pytest.raises(ValueError, match="only users show pictures"):
        Message("assistant", "x", (Image.new("RGB", (2, 2)),))


def test_the_objective_takes_dense_pictures_as_they_are() -> None:
    """One sample is one row; only a shift by size needs to be told how many tokens a picture has."""
    data, fixed = torch.randn(3, 4, 8, 6), RectifiedFlowObjective(UniformTimes(), FixedShift(3.0))
    torch.manual_seed(5)
    loss = fixed(lambda x, t: 0 * x, data)
    packed = fixed(lambda x, t: 0 * x, data, torch.arange(3), [1, 1, 1], torch.Generator().manual_seed(5))
    assert torch.equal(loss.loss, packed.loss)
    assert torch.equal(loss.times, packed.times)
    by_size = RectifiedFlowObjective(UniformTimes(), SquareRootShift(2))
    sized = by_size(lambda x, t: 0 * x, data, tokens=[12] * 3, generator=torch.Generator().manual_seed(5))
    drawn = UniformTimes().sample(3, torch.Generator().manual_seed(5))
    torch.testing.assert_close(sized.times, SquareRootShift(2)(drawn, [12] * 3))
    with pytest.raises(ValueError, match=r"SquareRootShift\(side=2\) depends on sizes: give the number of tokens"):
        by_size(lambda x, t: 0 * x, data)
    with pytest.raises(ValueError, match="are of 2 samples, but data is a batch of 3"):
        by_size(lambda x, t: 0 * x, data, tokens=[12] * 2)
    with pytest.raises(ValueError, match="data is packed: give the number of tokens"):
        fixed(lambda x, t: 0 * x, data, torch.arange(3))
