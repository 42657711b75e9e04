r"""What the velocity of a student should be, as functions of velocity models: they know nothing of texts or pictures.

Time runs from noise (0) to data (1). With $x_s$ on the path of the teacher through $x_t$ at $t$, the mean velocity from
$t$ to $e$ is $u(x_t, t) = \frac{1}{e - t} \int_t^e v(x_s, s)\,\mathrm d s = (x_e - x_t) / (e - t)$: one Euler step
with it arrives where the teacher does.
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor

from omnigen2.flow import PerSample, SampleIndex, Solver, Times, VelocityModel, call_model, spread

States: TypeAlias = Float[Tensor, " tokens *features"]
Points: TypeAlias = Int[Tensor, " samples"]
"""Of each sample the number of a point on a grid of times, on the host."""


def followed_velocity(
    teacher: VelocityModel, x_t: States, times: Times, sample_index: SampleIndex, solver: Solver
) -> States:
    """The mean velocity along the teacher's path, by following it.

    Args:
        teacher: Its velocity.
        x_t: Where the path begins, shape (tokens, *features).
        times: Those that the solver visits, shape (points, samples), on the host; each sample has its own.
        sample_index: The sample of each token, shape (tokens,).
        solver: Of the teacher.

    Example:
        A teacher that goes straight to one picture has the same velocity all the way.

        >>> import torch
        >>> from omnigen2.flow import EulerSolver, IdentityShift, time_grid
        >>> picture, noise = torch.ones(3, 2), torch.zeros(3, 2)
        >>> teacher = lambda x_t, t: (picture - x_t) / (1 - t)
        >>> times = time_grid(28, IdentityShift(), [3])[:8]
        >>> mean = followed_velocity(teacher, noise, times, torch.zeros(3, dtype=torch.long), EulerSolver())
        >>> torch.allclose(mean, picture - noise, atol=1e-5)
        True
    """
    reached = solver.solve(teacher, x_t, times, sample_index)
    length = (times[-1].double() - times[0].double()).to(reached.dtype)
    return (reached - x_t) / spread(length, reached, sample_index)


def flow_map_velocity(
    teacher: VelocityModel,
    student: VelocityModel,
    x_t: States,
    t: PerSample,
    end: PerSample,
    sample_index: SampleIndex,
    step: float = 0.01,
) -> States:
    r"""The mean velocity from `t` to `end` by the student's own: MeanFlow's identity, with a teacher.

    $(e - t)\,u = \int_t^e v$, differentiated along the path of v, is
    $u = v + (e - t)\,\frac{\mathrm d u}{\mathrm d t}$. The derivative is a difference of the student at two points of
    the tangent, so it needs two evaluations without a gradient, and no kernel must know forward-mode derivatives. At
    `t` = `end` it is the teacher's velocity.

    Args:
        teacher: Its velocity, evaluated once.
        student: An estimate of u, whose end is a function of `t` that is constant around it.
        x_t: Shape (tokens, *features).
        t: Time of each sample, shape (samples,).
        end: Where each mean ends, at least `t`, shape (samples,).
        sample_index: The sample of each token.
        step: Half the distance of the two points in time, less where 0 or `end` are nearer.

    Example:
        The mean of v = x from t to 1 is (exp(1 - t) - 1) / (1 - t) times x: a student that says so stays where it is.

        >>> import torch
        >>> mean = lambda x_t, t: x_t * torch.expm1(1 - t) / (1 - t)
        >>> x_t, t = torch.ones(3, 2), torch.tensor([0.5])
        >>> owners = torch.zeros(3, dtype=torch.long)
        >>> aim = flow_map_velocity(lambda x_t, t: x_t, mean, x_t, t, torch.ones(1), owners)
        >>> torch.allclose(aim, mean(x_t, t), atol=1e-3)
        True

    Source: Geng et al., MeanFlow, arXiv:2505.13447, eq. 6 (whose time runs from data to noise).
    """
    velocity = call_model(teacher, x_t, t)
    before, after = (t - step).clamp(min=0.0), torch.minimum(t + step, end)
    ahead, behind = (
        call_model(student, x_t + spread(point - t, x_t, sample_index) * velocity, point) for point in (after, before)
    )
    rate = (end - t) / (after - before)
    return velocity + spread(rate, x_t, sample_index) * (ahead - behind)


def at_points(points: Points, times: Times) -> PerSample:
    """Of each sample the time at its own point of a grid of shape (points, samples)."""
    return times.gather(0, points[None])[0]


def states_at_points(points: Points, states: Sequence[States], sample_index: SampleIndex) -> States:
    """Of each sample the state at its own point of a walk.

    Args:
        points: The point of each sample, on the host.
        states: One for each point, each of shape (tokens, *features).
        sample_index: The sample of each token.
    """
    own = points.to(sample_index.device)[sample_index]
    return torch.stack(tuple(states))[own, torch.arange(len(own), device=own.device)]
