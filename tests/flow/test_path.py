from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import jvp

from omnigen2.flow import path
from omnigen2.flow.path import check_times, draw_times_and_noise, interpolate, velocity
from omnigen2.flow.schedule import SquareRootShift
from omnigen2.flow.times import LogitNormalTimes

from .cases import Packed, packed, parity

VIEWS = ("velocity", "data", "noise", "score")
SINGULAR = {
    ("velocity", "score"): "data",
    ("data", "velocity"): "data",
    ("data", "noise"): "data",
    ("data", "score"): "data",
    ("noise", "velocity"): "noise",
    ("noise", "data"): "noise",
    ("noise", "score"): "data",
    ("score", "velocity"): "noise",
    ("score", "data"): "noise",
}
PAIRS = [(a, b) for a in VIEWS for b in VIEWS if a != b]
REGULAR = [pair for pair in PAIRS if pair not in SINGULAR]


def converter(source: str, target: str) -> Callable[..., Tensor]:
    return getattr(path, f"{source}_to_{target}")


def views(batch: Packed) -> tuple[Tensor, dict[str, Tensor]]:
    x_t = interpolate(batch.noise, batch.data, batch.t, batch.sample_index)
    score = -batch.noise / (1 - batch.t[batch.sample_index][:, None])
    known = velocity(batch.noise, batch.data), batch.data, batch.noise, score
    return x_t, dict(zip(VIEWS, known, strict=True))


@given(packed())
def test_endpoints(batch: Packed) -> None:
    ends = [interpolate(batch.noise, batch.data, torch.full_like(batch.t, t), batch.sample_index) for t in (0.0, 1.0)]
    assert torch.equal(ends[0], batch.noise)
    assert torch.equal(ends[1], batch.data)


@given(packed())
def test_time_derivative_is_the_velocity(batch: Packed) -> None:
    _, slope = jvp(
        lambda t: interpolate(batch.noise, batch.data, t, batch.sample_index),
        (batch.t,),
        (torch.ones_like(batch.t),),
    )
    torch.testing.assert_close(slope, velocity(batch.noise, batch.data))


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(packed(low=0.05, high=0.95))
def test_conversions_give_each_view(source: str, target: str, batch: Packed) -> None:
    x_t, known = views(batch)
    got = converter(source, target)(known[source], x_t, batch.t, batch.sample_index)
    torch.testing.assert_close(got, known[target], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@given(packed(low=0.05, high=0.95))
def test_conversions_invert(source: str, target: str, batch: Packed) -> None:
    anything, x_t = batch.noise, batch.data
    there = converter(source, target)(anything, x_t, batch.t, batch.sample_index)
    back = converter(target, source)(there, x_t, batch.t, batch.sample_index)
    torch.testing.assert_close(back, anything, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("source", "target"), sorted(SINGULAR))
def test_conversions_refuse_the_singular_end(source: str, target: str) -> None:
    convert, end = converter(source, target), SINGULAR[source, target]
    bad, good = (1.0, 0.0) if end == "data" else (0.0, 1.0)
    x = torch.ones(2, 3)
    with pytest.raises(ValueError, match=f"singular at t = {bad:.0f}, where x_t is pure {end}"):
        convert(x, x, bad)
    with pytest.raises(ValueError, match=f"singular at t = {bad:.0f}"):
        convert(x, x, torch.tensor([0.5, bad]), torch.tensor([0, 1]))
    both_singular = (source, target) in {("noise", "score"), ("score", "noise")}
    if not both_singular:
        assert convert(x, x, good).isfinite().all()


@pytest.mark.parametrize(("source", "target"), REGULAR)
@pytest.mark.parametrize("t", [0.0, 1.0])
def test_other_conversions_are_regular_at_both_ends(source: str, target: str, t: float) -> None:
    x = torch.ones(2, 3)
    assert converter(source, target)(x, x, t).isfinite().all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("source", "target"), sorted(SINGULAR))
def test_unread_times_give_no_finite_wrong_number(source: str, target: str) -> None:
    torch.compiler.reset()
    convert = torch.compile(converter(source, target), fullgraph=True, backend="eager")
    t = torch.tensor([1.0 if SINGULAR[source, target] == "data" else 0.0])
    x_t, value = torch.full((1, 3), 0.7), torch.full((1, 3), 0.3)
    assert not convert(value, x_t, t, torch.tensor([0])).isfinite().any()


@given(st.floats().filter(lambda t: not 0 <= t <= 1))
def test_times_outside_the_path_are_refused(t: float) -> None:
    with pytest.raises(ValueError, match=r"time must be in \[0, 1\], 0 is noise and 1 is data, got"):
        check_times(t)
    with pytest.raises(ValueError, match="time must be in"):
        interpolate(
            torch.zeros(2, 1), torch.zeros(2, 1), torch.tensor([0.5, t], dtype=torch.float64), torch.tensor([0, 1])
        )


def test_the_offending_time_is_named() -> None:
    with pytest.raises(ValueError, match=r"got 2\.5; a sigma or a scheduler's timestep"):
        check_times(torch.tensor([0.1, 2.5]))


@pytest.mark.usefixtures("unchecked")
def test_states_are_never_broadcast() -> None:
    with pytest.raises(ValueError, match=r"noise has shape \(2, 3\) and data \(2, 1\)"):
        interpolate(torch.zeros(2, 3), torch.zeros(2, 1), 0.5)
    with pytest.raises(ValueError, match=r"noise has shape \(2, 3\) and data \(3,\)"):
        velocity(torch.zeros(2, 3), torch.zeros(3))
    with pytest.raises(ValueError, match=r"the converted quantity has shape \(1, 3\) and x_t \(2, 3\)"):
        path.velocity_to_data(torch.zeros(1, 3), torch.zeros(2, 3), 0.5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_working_dtype_is_at_least_float32(dtype: torch.dtype) -> None:
    noise, data = torch.randn(2, 4, 3).to(dtype)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    x_t = interpolate(noise, data, torch.tensor([0.25]), torch.zeros(4, dtype=torch.int64))
    assert x_t.dtype == velocity(noise, data).dtype == expected
    assert torch.equal(x_t, 0.75 * noise.to(expected) + 0.25 * data.to(expected))
    assert interpolate(noise, data, 0.25).dtype == expected


def test_parity_flow_interpolation() -> None:
    tensors, _, tolerance = parity("flow_interpolation")
    noise, data, t = (tensors[f"inputs_tensor.{name}"] for name in ("noise", "data", "t"))
    batch = torch.arange(len(t))
    torch.testing.assert_close(interpolate(noise, data, t, batch), tensors["outputs_tensor.xt"], **tolerance)
    torch.testing.assert_close(velocity(noise, data), tensors["outputs_tensor.target"], **tolerance)
    for i in range(3):
        noise, data = tensors[f"inputs.noise.{i}"], tensors[f"inputs.data.{i}"]
        x_t = interpolate(noise, data, tensors["inputs.t"][i])
        torch.testing.assert_close(x_t, tensors[f"outputs.xt.{i}"], **tolerance)
        torch.testing.assert_close(velocity(noise, data), tensors[f"outputs.target.{i}"], **tolerance)


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
