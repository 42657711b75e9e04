import torch

from omnigen2.flow.weighting import CosineMapWeighting, Unweighted


def test_weights_are_positive_symmetric_and_of_mean_one() -> None:
    t = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    for weighting in (Unweighted(), CosineMapWeighting()):
        weights = weighting(t)
        assert (weights > 0).all()
        torch.testing.assert_close(weights, weighting(1 - t))
        torch.testing.assert_close(weights.mean().item(), 1.0, rtol=1e-6, atol=0)


def test_cosine_map_doubles_the_middle() -> None:
    ends_and_middle = CosineMapWeighting()(torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(ends_and_middle[1], 2 * ends_and_middle[0])
