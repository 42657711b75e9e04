"""Sampling with noise: a walk over the time grid in which some steps are drawn and the others follow the ODE."""

import torch

from omnigen2.flow.grid import Models, Times, plan_walk
from omnigen2.flow.model import call_model
from omnigen2.flow.packed import PerSample, SampleIndex, States, spread
from omnigen2.flow.trajectory import Trajectory
from omnigen2.flow.transition import NoiseLevel, transition


def sample_sde(
    model: Models,
    noise: States,
    times: Times,
    sample_index: SampleIndex,
    noise_level: NoiseLevel,
    generator: torch.Generator,
    window: range | None = None,
) -> Trajectory:
    """Walk from noise to data, drawing the steps in the window and taking Euler steps elsewhere.

    States, means and log-probabilities are float32 (or wider) whatever the model's dtype: in bfloat16 the ratio of a
    policy with itself is not 1. The first four arguments are those of `Solver.states`.

    Args:
        noise_level: sigma of the stochastic steps, positive.
        generator: Source of the noise of the steps.
        window: Numbers of the stochastic steps; None: all of them, `range(0)`: none.

    Returns:
        All states, and the log-probabilities of the stochastic steps as means over elements.

    Raises:
        ValueError: If the window leaves the grid, or the noise level of a step in it is not positive.
    """
    walk = plan_walk(model, noise, times, sample_index)
    steps = len(walk.models)
    stochastic = tuple(sorted(range(steps) if window is None else window))
    if stochastic and not (stochastic[0] >= 0 and stochastic[-1] < steps):
        raise ValueError(f"window {window} leaves the grid's steps 0 to {steps - 1}; give numbers of steps, not times")
    increments = walk.increments()
    states, log_probs = [walk.start], list[PerSample]()
    for k, step_model in walk:
        x = states[-1]
        velocity = call_model(step_model, x, walk.times[k])
        if k not in stochastic:
            states.append(x + spread(increments[k], x, sample_index) * velocity)
            continue
        _check_noisy(k, noise_level(walk.exact[k], walk.exact[k + 1]))
        step = transition(x, velocity, times[k], times[k + 1], sample_index, noise_level)
        states.append(step.sample(generator))
        log_probs.append(step.log_prob(states[-1]))
    empty = increments.new_zeros((0, times.shape[1]))
    return Trajectory(times, torch.stack(states), torch.stack(log_probs) if log_probs else empty, stochastic)


def _check_noisy(k: int, sigma: PerSample) -> None:
    if not bool((sigma > 0).all()):
        raise ValueError(
            f"the noise level of step {k} is {sigma.tolist()}, but a stochastic step needs noise to have a "
            "log-probability; leave the step out of the window"
        )
