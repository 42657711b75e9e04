r"""The straight path from noise to data: interpolation, velocity, its four views, and a random place on it.

Time runs from noise to data, $x_t = (1 - t)\,\text{noise} + t\,\text{data}$ for $t \in [0, 1]$, and
$\text{velocity} = \mathrm d x_t / \mathrm d t = \text{data} - \text{noise}$. Given $x_t$ and $t$, each of velocity,
data, noise and score ($\nabla \log p_t(x_t)$ estimated by $-\text{noise} / (1 - t)$) determines the others, except
where the wanted one is no longer in $x_t$:

| from \ to | velocity | data | noise | score |
|---|---|---|---|---|
| velocity | | always | always | t < 1 |
| data | t < 1 | | t < 1 | t < 1 |
| noise | t > 0 | t > 0 | | t < 1 |
| score | t > 0 | t > 0 | always | |

Shapes. `x_t` and the converted quantity are (tokens, *features). The time `t` is a float, a 0-dimensional tensor, a
tensor with the axes of `x_t` (sizes equal or 1), or of shape (samples,) together with `sample_index` of shape
(tokens,). Anything else is a `ValueError`: see `omnigen2.flow.packed.spread`.

Refusal. A time outside [0, 1], or at the end where a conversion is singular, is a `ValueError` when `t` is a float or
a CPU tensor. Reading a time that lives on another device would make the host wait for it, and inside `torch.compile`
it would break the graph, so there the functions do not look: the result at the singular end is inf or NaN, never a
finite wrong number. Call `check_times` once at the edge of the program where waiting is cheap.

Everything is computed in float32, or in the dtype of the inputs where that is wider.

Source: Liu et al., arXiv:2209.03003, eq. 1; Lipman et al., arXiv:2210.02747, section 4.1, with the minimal sigma 0;
the score: Ma et al., arXiv:2401.08740, section 2.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias, assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.flow.packed import PerSample, SampleIndex, States, spread
from omnigen2.flow.schedule import TimeShift
from omnigen2.flow.times import TimeSampler

Time: TypeAlias = float | Float[Tensor, "..."]
"""A time in [0, 1]: a float, or a tensor of one of the shapes in the module's docstring."""
SingularEnd: TypeAlias = Literal["none", "noise", "data"]
"""The end of the path at which a conversion has no answer: t = 0 (`"noise"`) or t = 1 (`"data"`)."""


def check_times(t: Time, singular: SingularEnd = "none") -> None:
    """Refuse times outside [0, 1], or at the end where a conversion is singular.

    On a CUDA tensor this waits for the device; the functions of this module therefore only call it for floats and
    CPU tensors.

    Raises:
        ValueError: If a time is outside [0, 1] (or NaN), or at the singular end.
    """
    times = torch.as_tensor(t, dtype=t.dtype if isinstance(t, Tensor) else torch.float64)
    inside = (times >= 0) & (times <= 1)
    if not bool(inside.all()):
        raise ValueError(
            f"time must be in [0, 1], 0 is noise and 1 is data, got {times[~inside].flatten()[0].item():g}; "
            "a sigma or a scheduler's timestep is converted by t = 1 - sigma"
        )
    match singular:
        case "none":
            return
        case "noise":
            if bool((times == 0).any()):
                raise ValueError(
                    "this conversion is singular at t = 0, where x_t is pure noise and holds no data; "
                    "start at t > 0, or convert from the velocity, which is regular there"
                )
        case "data":
            if bool((times == 1).any()):
                raise ValueError(
                    "this conversion is singular at t = 1, where x_t is pure data and holds no noise; "
                    "stop at t < 1, or use a conversion that does not divide by 1 - t"
                )
        case _:
            assert_never(singular)


def time_of(
    t: Time, x: States, sample_index: SampleIndex | None = None, singular: SingularEnd = "none"
) -> Float[Tensor, "..."]:
    """The time, checked where that costs nothing, shaped to multiply `x` and in its working dtype."""
    if not isinstance(t, Tensor) or (t.device.type == "cpu" and not torch.compiler.is_compiling()):
        check_times(t, singular)
    return spread(torch.as_tensor(t, dtype=working_dtype(x)), x, sample_index)


def working_dtype(x: Tensor) -> torch.dtype:
    """float32, or the dtype of `x` where that is wider."""
    return torch.promote_types(x.dtype, torch.float32)


def interpolate(noise: States, data: States, t: Time, sample_index: SampleIndex | None = None) -> States:
    r"""The state $x_t = (1 - t)\,\text{noise} + t\,\text{data}$: noise at t = 0, data at t = 1, both exactly."""
    _check_same_shape("noise", noise, "data", data)
    time = time_of(t, noise, sample_index)
    return (1 - time) * noise.to(time.dtype) + time * data.to(time.dtype)


def velocity(noise: States, data: States) -> States:
    """The derivative of the path in time, `data - noise`, in float32 or wider; the same at every t."""
    _check_same_shape("noise", noise, "data", data)
    return data.to(working_dtype(data)) - noise.to(working_dtype(noise))


def _check_same_shape(a_name: str, a: Tensor, b_name: str, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ValueError(
            f"{a_name} has shape {tuple(a.shape)} and {b_name} {tuple(b.shape)}; they must be equal, "
            "nothing is broadcast between states"
        )


def _prepare(
    value: States, x_t: States, t: Time, sample_index: SampleIndex | None, singular: SingularEnd
) -> tuple[States, States, Float[Tensor, "..."]]:
    _check_same_shape("the converted quantity", value, "x_t", x_t)
    time = time_of(t, x_t, sample_index, singular)
    return value.to(time.dtype), x_t.to(time.dtype), time


def velocity_to_data(velocity: States, x_t: States, t: Time, sample_index: SampleIndex | None = None) -> States:
    """Data, `x_t + (1 - t) velocity`; regular everywhere."""
    velocity, x_t, time = _prepare(velocity, x_t, t, sample_index, "none")
    return x_t + (1 - time) * velocity


def velocity_to_noise(velocity: States, x_t: States, t: Time, sample_index: SampleIndex | None = None) -> States:
    """Noise, `x_t - t velocity`; regular everywhere."""
    velocity, x_t, time = _prepare(velocity, x_t, t, sample_index, "none")
    return x_t - time * velocity


def velocity_to_score(velocity: States, x_t: States, t: Time, sample_index: SampleIndex | None = None) -> States:
    """Score, `(t velocity - x_t) / (1 - t)`; refused at t = 1."""
    velocity, x_t, time = _prepare(velocity, x_t, t, sample_index, "data")
    return (time * velocity - x_t) / (1 - time)


def data_to_velocity(data: States, x_t: States, t: Time, sample_index: SampleIndex | None = None) -> States:
    """Velocity, `(data - x_t) / (1 - t)`; refused at t = 1."""
    data, x_t, time = _prepare(data, x_t, t, sample_index, "data")
    return (data - x_t) / (1 - time)


def data_to_noise(data: States, x_t: States, t: Time, sample_index: SampleIndex | None = None) -> States:
    """Noise, `(x_t - t data) / (1 - t)`; refused at t = 1."""
    data, x_t, time = _prepare(data, x_t, t, sample_index, "data")
    return (x_t - time * data) / (1 - time)


def data_to_score(data: States, x_t: States, t: Time, sample_index: SampleIndex | None = None) -> States:
    """Score, `(t data - x_t) / (1 - t)^2`; refused at t = 1."""
    data, x_t, time = _prepare(data, x_t, t, sample_index, "data")
    return (time * data - x_t) / (1 - time).square()


def noise_to_velocity(noise: States, x_t: States, t: Time, sample_index: SampleIndex | None = None) -> States:
    """Velocity, `(x_t - noise) / t`; refused at t = 0."""
    noise, x_t, time = _prepare(noise, x_t, t, sample_index, "noise")
    return (x_t - noise) / time


def noise_to_data(noise: States, x_t: States, t: Time, sample_index: SampleIndex | None = None) -> States:
    """Data, `(x_t - (1 - t) noise) / t`; refused at t = 0."""
    noise, x_t, time = _prepare(noise, x_t, t, sample_index, "noise")
    return (x_t - (1 - time) * noise) / time


def noise_to_score(noise: States, x_t: States, t: Time, sample_index: SampleIndex | None = None) -> States:
    """Score, `-noise / (1 - t)`; refused at t = 1."""
    noise, _, time = _prepare(noise, x_t, t, sample_index, "data")
    return -noise / (1 - time)


def score_to_velocity(score: States, x_t: States, t: Time, sample_index: SampleIndex | None = None) -> States:
    """Velocity, `(x_t + (1 - t) score) / t`; refused at t = 0."""
    score, x_t, time = _prepare(score, x_t, t, sample_index, "noise")
    return (x_t + (1 - time) * score) / time


def score_to_data(score: States, x_t: States, t: Time, sample_index: SampleIndex | None = None) -> States:
    """Data, `(x_t + (1 - t)^2 score) / t`; refused at t = 0."""
    score, x_t, time = _prepare(score, x_t, t, sample_index, "noise")
    return (x_t + (1 - time).square() * score) / time


def score_to_noise(score: States, x_t: States, t: Time, sample_index: SampleIndex | None = None) -> States:
    """Noise, `-(1 - t) score`; regular everywhere."""
    score, _, time = _prepare(score, x_t, t, sample_index, "none")
    return -(1 - time) * score


class Draw(NamedTuple):
    """Where on its path each sample is looked at.

    Attributes:
        t: Time of each sample, after the shift, shape (samples,).
        noise: Standard normal, float32, shape (tokens, *features).
    """

    t: PerSample
    noise: States


def draw_times_and_noise(
    sampler: TimeSampler,
    shift: TimeShift,
    data: States,
    tokens: Sequence[int],
    generator: torch.Generator,
    dense: bool = False,
) -> Draw:
    """Draw a time for each sample, then noise for each element, without waiting for the device.

    Args:
        sampler: Where the times come from, before the shift.
        shift: Moves the times by the size of each picture.
        data: Packed target tokens, shape (tokens, *features).
        tokens: Number of tokens of each sample, on the host.
        generator: Source of both, drawn on its own device and sent to that of `data`.
        dense: Whether `data` is a dense batch, shape (samples, ...).

    Raises:
        ValueError: If `tokens` does not add up to the tokens of `data`, or is not one number per sample of a batch.
    """
    if dense and len(tokens) != data.shape[0]:
        raise ValueError(f"tokens {list(tokens)} are of {len(tokens)} samples, but data is a batch of {data.shape[0]}")
    if not dense and sum(tokens) != data.shape[0]:
        raise ValueError(
            f"tokens {list(tokens)} add up to {sum(tokens)}, but data has {data.shape[0]} packed tokens; "
            "pass the number of target tokens of each sample"
        )
    t = shift(sampler.sample(len(tokens), generator), tokens)
    noise = torch.randn(data.shape, generator=generator, device=generator.device)
    return Draw(t.to(data.device, non_blocking=True), noise.to(data.device, non_blocking=True))
