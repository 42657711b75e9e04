import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.flow import IdentityShift, UniformTimes, VelocityModel, velocity
from omnigen2.rl import DiffusionNFTObjective, optimality

TOKENS = [3, 1, 2]
INDEX = torch.tensor([0, 0, 0, 1, 2, 2])


def constant(value: Tensor) -> VelocityModel:
    """A velocity that does not look at its inputs."""
    return lambda x_t, t: value


def objective(beta: float = 1.0, adaptive: bool = False) -> DiffusionNFTObjective:
    return DiffusionNFTObjective(UniformTimes(), IdentityShift(), beta, adaptive)


def tensors(seed: int, count: int) -> list[Tensor]:
    return list(torch.randn(count, 6, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


goodness = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(lambda own: torch.tensor(own, dtype=torch.float64))
seeds = st.integers(0, 2**31)
betas = st.floats(0.1, 2)
T = torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64)


@given(seeds, goodness, betas)
def test_at_the_old_policy_the_gradient_is_the_flow_gradient_times_goodness(
    seed: int, good: Tensor, beta: float
) -> None:
    """beta (2 r - 1) times that of the squared error: towards good pictures, away from bad ones, 0 at one half."""
    noise, data, old = tensors(seed, 3)
    v = old.clone().requires_grad_()
    out = objective(beta).at(constant(v), constant(old), noise, data, good, T, INDEX)
    (found,) = torch.autograd.grad(out.loss, v)
    error = old - velocity(noise, data)
    counts = 2 * torch.tensor(TOKENS)[INDEX][:, None]
    expected = beta * (2 * good - 1)[INDEX][:, None] * 2 * error / counts / 3
    torch.testing.assert_close(found, expected)
    assert (out.distance == 0).all()


@pytest.mark.parametrize("adaptive", [False, True])
@given(seed=seeds, beta=betas)
def test_half_good_teaches_nothing(adaptive: bool, seed: int, beta: float) -> None:
    noise, data, old = tensors(seed, 3)
    v = old.clone().requires_grad_()
    good = torch.full((3,), 0.5, dtype=torch.float64)
    out = objective(beta, adaptive).at(constant(v), constant(old), noise, data, good, T, INDEX)
    (found,) = torch.autograd.grad(out.loss, v)
    torch.testing.assert_close(found, torch.zeros_like(found))


@given(seeds, goodness, betas)
def test_the_optimum_is_known(seed: int, good: Tensor, beta: float) -> None:
    """For one picture v_old + (2 r - 1) / beta (v - v_old): there the gradient vanishes, and the loss is lowest."""
    noise, data, old, other = tensors(seed, 4)
    best = old + ((2 * good - 1) / beta)[INDEX][:, None] * (velocity(noise, data) - old)
    v = best.clone().requires_grad_()
    out = objective(beta).at(constant(v), constant(old), noise, data, good, T, INDEX)
    (found,) = torch.autograd.grad(out.loss, v)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0, atol=1e-9)
    worse = objective(beta).at(constant(best + 0.1 * other), constant(old), noise, data, good, T, INDEX)
    assert worse.loss > out.loss


@given(seeds)
def test_a_good_picture_with_beta_one_is_plain_flow_matching(seed: int) -> None:
    noise, data, old, v = tensors(seed, 4)
    ones = torch.ones(3, dtype=torch.float64)
    out = objective(1.0).at(constant(v), constant(old), noise, data, ones, T, INDEX)
    torch.testing.assert_close(out.positive, torch.stack(
        [(v - velocity(noise, data)).square()[sample == INDEX].mean() for sample in range(3)]
    ))  # fmt: skip
    torch.testing.assert_close(out.loss, out.positive.mean())


@given(seeds)
def test_the_adaptive_gradient_is_the_direction_of_the_error(seed: int) -> None:
    """For a good picture and beta 1: twice (1 - t) error over the mean absolute error, which carries no gradient."""
    noise, data, old, v = tensors(seed, 4)
    v.requires_grad_()
    ones = torch.ones(3, dtype=torch.float64)
    out = objective(adaptive=True).at(constant(v), constant(old), noise, data, ones, T, INDEX)
    (found,) = torch.autograd.grad(out.loss, v)
    error = v.detach() - velocity(noise, data)
    size = torch.stack([error[sample == INDEX].abs().mean() for sample in range(3)])
    scale = 2 * (1 - T) / size / (2 * torch.tensor(TOKENS)) / 3
    torch.testing.assert_close(found, scale[INDEX][:, None] * error)


@given(seeds, goodness, st.floats(0.5, 4))
def test_the_adaptive_loss_grows_with_the_error_and_not_with_its_square(seed: int, good: Tensor, scale: float) -> None:
    noise, data, old, v = tensors(seed, 4)
    target = velocity(noise, data)
    losses = [
        objective(adaptive=True)
        .at(constant(target + own * (v - target)), constant(target + own * (old - target)), noise, data, good, T, INDEX)
        .loss
        for own in (1.0, scale)
    ]
    torch.testing.assert_close(losses[1], scale * losses[0])


@given(seeds, goodness, betas)
def test_a_count_makes_the_sum_independent_of_the_split(seed: int, good: Tensor, beta: float) -> None:
    noise, data, old, v = tensors(seed, 4)
    whole = objective(beta, True).at(constant(v), constant(old), noise, data, good, T, INDEX, count=3).loss
    parts = []
    for sample in range(3):
        mine, only = sample == INDEX, slice(sample, sample + 1)
        zeros = torch.zeros(int(mine.sum()), dtype=torch.int64)
        models = constant(v[mine]), constant(old[mine])
        parts.append(
            objective(beta, True).at(*models, noise[mine], data[mine], good[only], T[only], zeros, count=3).loss
        )
    torch.testing.assert_close(torch.stack(parts).sum(), whole)


def test_drawn_times_and_noise_follow_the_seed() -> None:
    data = torch.randn(6, 2)
    seen: list[tuple[Tensor, Tensor]] = []

    def policy(x_t: Tensor, t: Tensor) -> Tensor:
        seen.append((x_t, t))
        return torch.zeros_like(x_t)

    for seed in (0, 0, 1):
        out = objective(adaptive=True)(policy, policy, data, torch.ones(3), TOKENS, torch.Generator().manual_seed(seed))
        assert out.loss.isfinite()
    assert torch.equal(seen[0][0], seen[2][0])
    assert not torch.equal(seen[0][0], seen[4][0])
    assert torch.equal(seen[0][0], seen[1][0])


@given(st.floats(0.1, 10), st.lists(st.floats(-20, 20), min_size=1, max_size=5))
def test_optimality_is_a_probability(clip: float, advantages: list[float]) -> None:
    given_ = torch.tensor(advantages, dtype=torch.float64)
    found = optimality(given_, clip)
    assert ((found >= 0) & (found <= 1)).all()
    torch.testing.assert_close(found + optimality(-given_, clip), torch.ones_like(found))
    torch.testing.assert_close(optimality(torch.tensor([-clip, 0.0, clip]), clip), torch.tensor([0.0, 0.5, 1.0]))


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"beta must be positive and finite, got 0\.0"):
        objective(0.0)
    for clip in (-1.0, 0.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=rf"clip must be positive and finite, got {clip}"):
            optimality(torch.zeros(1), clip)
    nothing = constant(torch.zeros(6, 2))
    with pytest.raises(ValueError, match=r"tokens \[1, 1\] add up to 2, but data has 6"):
        objective()(nothing, nothing, torch.zeros(6, 2), torch.ones(2), [1, 1], torch.Generator())
