import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.flow.draw import draw_times_and_noise
from omnigen2.flow.schedule import SquareRootShift
from omnigen2.flow.times import LogitNormalTimes

from .cases import Packed, packed


@given(packed(), st.integers(0, 2**31))
def test_a_draw_depends_on_the_generator_and_the_sizes_alone(batch: Packed, seed: int) -> None:
    sampler, shift = LogitNormalTimes(), SquareRootShift()
    one, same, other = (
        draw_times_and_noise(sampler, shift, data, batch.tokens, torch.Generator().manual_seed(number))
        for data, number in ((batch.data, seed), (0 * batch.data, seed), (batch.data, seed + 1))
    )
    assert torch.equal(one.t, same.t)
    assert torch.equal(one.noise, same.noise)
    assert not torch.equal(one.noise, other.noise)
    assert one.noise.shape == batch.data.shape
    times = sampler.sample(len(batch.tokens), torch.Generator().manual_seed(seed))
    assert torch.equal(one.t, shift(times, batch.tokens))


def test_tokens_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match=r"tokens \[2, 2\] add up to 4, but data has 3 packed tokens"):
        draw_times_and_noise(LogitNormalTimes(), SquareRootShift(), torch.ones(3, 2), [2, 2], torch.Generator())
