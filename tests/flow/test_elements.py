import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.flow.elements import CosineMapWeighting, Unweighted, share_of_elements

TWO_RANKS = """
import sys, torch, torch.distributed as dist
from omnigen2.flow.elements import share_of_elements
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
local = [[10, 30], [5, 3]][rank]
assert share_of_elements(local).item() == 48 / 4
sums = torch.tensor([float(sum(local))], dtype=torch.float64) / share_of_elements(local) / 2
dist.all_reduce(sums)
assert torch.isclose(sums / 2, torch.ones(1, dtype=torch.float64))
dist.barrier()
dist.destroy_process_group()
"""


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=8))
def test_average_of_the_parts_is_the_sum_over_the_total(counts: list[int]) -> None:
    sums = torch.rand(len(counts), dtype=torch.float64)
    torch.testing.assert_close((sums / share_of_elements(counts)).mean(), sums.sum() / sum(counts))


def test_counts_are_summed_over_ranks(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen([sys.executable, "-c", TWO_RANKS, str(rank), str(tmp_path / "store")], env=environment)
        for rank in range(2)
    ]
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]


@pytest.mark.parametrize("local", [[], [3, 0]])
def test_empty_batches_are_refused(local: list[int]) -> None:
    with pytest.raises(ValueError, match=r"each at least 1, got \["):
        share_of_elements(local)


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
