import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.flow.schedule import AtTokens, ExponentialShift, IdentityShift, SquareRootShift, TimeShift
from omnigen2.flow.times import LogitNormalTimes, StratifiedTimes, TimeDistribution, UniformTimes

from .cases import parity

DISTRIBUTIONS: list[TimeDistribution] = [UniformTimes(), UniformTimes(0.2, 0.7), LogitNormalTimes(0.3, 0.8)]
over_distributions = pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=repr)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@over_distributions
@given(levels=st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_quantiles_are_monotone_in_the_unit_interval(distribution: TimeDistribution, levels: list[float]) -> None:
    times = distribution.quantile(torch.tensor(sorted(levels), dtype=torch.float64))
    assert ((times >= 0) & (times <= 1)).all()
    assert (times.diff() >= 0).all()


@over_distributions
def test_samples_follow_the_quantiles(distribution: UniformTimes | LogitNormalTimes) -> None:
    """Kolmogorov-Smirnov with 20,000 draws: a distance above 0.0195 has probability below 1e-6."""
    times = distribution.sample(20_000, seeded(0)).double().sort().values
    levels = (torch.arange(20_000) + 0.5) / 20_000
    empirical = torch.searchsorted(times, distribution.quantile(levels.double())) / 20_000
    assert (empirical - levels).abs().max() < 0.0195


def test_logit_normal_is_the_sigmoid_of_a_normal() -> None:
    logits = torch.logit(LogitNormalTimes(0.5, 2.0).sample(20_000, seeded(1)).double())
    assert abs(logits.mean().item() - 0.5) < 5 * 2 / 20_000**0.5
    assert abs(logits.std().item() - 2.0) < 5 * 2 / 40_000**0.5


@given(count=st.integers(1, 9), world_size=st.integers(1, 5), seed=st.integers(0, 1000))
def test_stratified_times_cover_the_path_evenly_over_ranks_and_samples(count: int, world_size: int, seed: int) -> None:
    drawn = torch.cat(
        [
            StratifiedTimes(UniformTimes(), rank, world_size).sample(count, seeded(seed + rank))
            for rank in range(world_size)
        ]
    ).double()
    n = count * world_size
    low = torch.arange(n).double() / n
    drawn = drawn.sort().values
    assert ((drawn >= low - 1e-6) & (drawn <= low + 1 / n + 1e-6)).all()


def test_stratification_does_not_tie_position_to_time() -> None:
    first = torch.stack([StratifiedTimes(UniformTimes()).sample(4, seeded(seed))[0] for seed in range(200)])
    assert first.min() < 0.25
    assert first.max() > 0.75


@given(st.integers(0, 2**31))
def test_one_seed_gives_one_draw(seed: int) -> None:
    for sampler in (UniformTimes(), LogitNormalTimes(), StratifiedTimes(LogitNormalTimes(), 1, 2)):
        first, again = sampler.sample(5, seeded(seed)), sampler.sample(5, seeded(seed))
        assert torch.equal(first, again)
        assert first.dtype == torch.float32


def test_parity_timestep_sampling() -> None:
    tensors, case, tolerance = parity("timestep_sampling")
    settings = case["hyperparameters"]
    sizes = [(h // 2) * (w // 2) for _, h, w in settings["latent_sizes_chw"]]
    normal_levels = torch.special.ndtr(tensors["inputs.normal"].double())
    stratified = StratifiedTimes(UniformTimes(), settings["process_index"], settings["num_processes"])
    raw = {
        "lognorm": LogitNormalTimes().quantile(normal_levels),
        "stratified_uniform": UniformTimes().quantile(stratified.strata(tensors["inputs.uniform"].double())),
    }
    static = settings["static_seq_len"]
    shifts: dict[str, TimeShift] = {
        "v1.dynamic": ExponentialShift(),
        "v1.static": AtTokens(ExponentialShift(), static),
        "v2.dynamic": SquareRootShift(),
        "v2.static": AtTokens(SquareRootShift(), static),
        "noshift": IdentityShift(),
    }
    for name, t in raw.items():
        for label, shift in shifts.items():
            got = shift(t, sizes).float()
            torch.testing.assert_close(got, tensors[f"outputs.{name}.{label}"], **tolerance)


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0 <= low < high <= 1, got low 0\.8 and high 0\.2"):
        UniformTimes(0.8, 0.2)
    with pytest.raises(ValueError, match=r"positive, finite std, got 0\.0 and 0\.0"):
        LogitNormalTimes(0.0, 0.0)
    with pytest.raises(ValueError, match="got rank 2 of 2 processes"):
        StratifiedTimes(UniformTimes(), 2, 2)
