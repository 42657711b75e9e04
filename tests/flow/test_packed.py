import pytest
import torch
from hypothesis import given

from omnigen2.flow.packed import elements_per_sample, mean_per_sample, spread, sum_per_sample

from .cases import Packed, packed


@given(packed())
def test_spread_gives_each_token_its_samples_value(batch: Packed) -> None:
    wide = spread(batch.t, batch.data, batch.sample_index)
    assert wide.shape == (len(batch.data), 1)
    for token, sample in enumerate(batch.sample_index.tolist()):
        assert wide[token, 0] == batch.t[sample]


def test_spread_accepts_scalars_and_matching_axes() -> None:
    x = torch.zeros(4, 3)
    assert spread(torch.tensor(0.5), x).shape == ()
    assert spread(torch.zeros(4, 1), x).shape == (4, 1)
    assert spread(torch.zeros(1, 3), x).shape == (1, 3)


@pytest.mark.parametrize("shape", [(5,), (1,), (5, 2), (2, 5), (5, 5, 1)])
def test_spread_refuses_a_time_that_would_broadcast_along_the_wrong_axis(shape: tuple[int, ...]) -> None:
    square = torch.zeros(5, 5)
    with pytest.raises(ValueError, match=r"shape \(.*\) does not say which axis of a state of shape \(5, 5\)"):
        spread(torch.zeros(shape), square)


@pytest.mark.usefixtures("unchecked")
def test_spread_refuses_a_wrong_index() -> None:
    with pytest.raises(ValueError, match=r"sample_index has shape \(3,\), expected \(5,\)"):
        spread(torch.zeros(3), torch.zeros(5, 2), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match=r"must have shape \(samples,\), got \(5, 1\)"):
        spread(torch.zeros(5, 1), torch.zeros(5, 2), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"sample_index has shape \(2,\), expected \(5,\)"):
        sum_per_sample(torch.zeros(5, 2), torch.tensor([0, 1]), 2)


@given(packed())
def test_sums_per_sample_are_the_sums_of_the_samples(batch: Packed) -> None:
    sums = sum_per_sample(batch.data, batch.sample_index, len(batch.tokens))
    counts = elements_per_sample(batch.data, batch.sample_index, len(batch.tokens))
    for sample, tokens in enumerate(batch.tokens):
        torch.testing.assert_close(sums[sample], batch.data[batch.sample_index == sample].sum())
        assert counts[sample] == tokens * batch.data.shape[1]


@given(packed())
def test_means_per_sample_are_the_means_of_the_samples(batch: Packed) -> None:
    means = mean_per_sample(batch.data, batch.sample_index, len(batch.tokens))
    for sample in range(len(batch.tokens)):
        torch.testing.assert_close(means[sample], batch.data[batch.sample_index == sample].mean())


def test_a_sample_without_tokens_sums_to_zero_and_has_no_mean() -> None:
    assert sum_per_sample(torch.ones(2, 1), torch.tensor([0, 2]), 3).tolist() == [1, 0, 1]
    assert mean_per_sample(torch.ones(2, 1), torch.tensor([0, 2]), 3).isnan().tolist() == [False, True, False]


@given(packed())
def test_a_sum_does_not_feel_infinities_of_other_samples(batch: Packed) -> None:
    spoiled = torch.where((batch.sample_index == 0)[:, None], torch.inf, batch.data)
    sums = sum_per_sample(spoiled, batch.sample_index, len(batch.tokens))
    assert torch.equal(sums[1:], sum_per_sample(batch.data, batch.sample_index, len(batch.tokens))[1:])
