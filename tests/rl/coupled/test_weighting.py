import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.flow import ConstantNoise, FlowGRPONoise, NoiseLevel, SquareRootShift, time_grid, transition
from omnigen2.rl import EqualSteps, InverseLength, NoiseScaled, StepWeighting
from tests.rl.cases import parity

OURS: list[StepWeighting] = [EqualSteps(), NoiseScaled(), InverseLength()]
trained_steps = st.sets(st.integers(0, 9), min_size=1).map(sorted)
levels = st.sampled_from([FlowGRPONoise(), ConstantNoise(0.3)])


@pytest.mark.parametrize("weighting", OURS, ids=lambda own: type(own).__name__)
@given(trained=trained_steps, level=levels)
def test_weights_average_one_over_the_steps_of_each_sample(
    weighting: StepWeighting, trained: list[int], level: NoiseLevel
) -> None:
    times = time_grid(10, SquareRootShift(), [64, 1024, 400])
    weights = weighting(times, trained, level)
    assert weights.shape == (len(trained), 3)
    assert (weights > 0).all()
    torch.testing.assert_close(weights.mean(0), torch.ones(3))
    alone = weighting(times[:, 1:2], trained, level)
    torch.testing.assert_close(alone, weights[:, 1:2])


@given(trained=trained_steps, level=levels)
def test_noise_scaled_weights_are_in_proportion_to_the_standard_deviation(
    trained: list[int], level: NoiseLevel
) -> None:
    times = time_grid(10, SquareRootShift(), [64, 1024])
    x, index = torch.zeros(2, 1), torch.arange(2)
    std = torch.stack([transition(x, x, times[k], times[k + 1], index, level).std for k in trained])
    weights = NoiseScaled()(times, trained, level)
    torch.testing.assert_close(weights * std[0], std * weights[0], rtol=1e-4, atol=1e-6)


def test_inverse_lengths() -> None:
    times = torch.tensor([[0.0], [0.5], [0.75], [1.0]])
    weights = InverseLength()(times, [0, 1], ConstantNoise(1.0))
    torch.testing.assert_close(weights, torch.tensor([[2 / 3], [4 / 3]]))


def test_parity_rl_reweight() -> None:
    tensors, case, tolerance = parity("rl_kl_and_reweight")
    settings = case["hyperparameters"]
    shift = SquareRootShift(side=settings["time_shift_base_res"] / 16)
    times = time_grid(settings["num_steps"], shift, [pixels // 4 for pixels in settings["num_tokens"]])
    trained, level = settings["train_timesteps"], FlowGRPONoise(settings["sigma_coef"])
    x, index = torch.zeros(2, 1), torch.arange(2)
    stds = torch.stack([transition(x, x, times[k], times[k + 1], index, level).std for k in trained])
    torch.testing.assert_close(stds[:, 0], tensors["outputs.sigma_sqrt_dt"], **tolerance)
    expected = tensors["outputs.reweight_factor"]  # the official code takes the schedule of sample 0 for all
    ours = len(trained) * NoiseScaled()(times, trained, level)
    torch.testing.assert_close(ours[:, 0], expected, **tolerance)
    assert not torch.allclose(ours[:, 1], expected, **tolerance)
