import pytest
import torch
from torch import Tensor

from omnigen2.flow.grid import plan_walk

INDEX = torch.zeros(2, dtype=torch.int64)


def still(x_t: Tensor, t: Tensor) -> Tensor:
    del t
    return torch.zeros_like(x_t)


def test_walk_keeps_float64_and_widens_the_rest() -> None:
    times = torch.tensor([[0.0], [1.0]])
    for dtype, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        walk = plan_walk(still, torch.zeros(2, 1, dtype=dtype), times, INDEX)
        assert walk.start.dtype == walk.increments().dtype == expected
    assert walk.exact.dtype == torch.float64


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("times", "message"),
    [
        (torch.tensor([0.0, 1.0]), r"shape \(steps \+ 1, samples\) with at least 1 step, got shape \(2,\) on cpu"),
        (torch.zeros(1, 1), r"got shape \(1, 1\)"),
        (torch.zeros(2, 1, device="meta"), "got shape .* on meta"),
        (torch.tensor([[1.0], [0.5], [0.0]]), "increase strictly along the first axis"),
        (torch.tensor([[0.0], [0.5], [0.5]]), "increase strictly along the first axis"),
        (torch.tensor([[0.0], [1.5]]), r"time must be in \[0, 1\].*got 1\.5"),
    ],
)
def test_bad_grids_are_refused(times: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_walk(still, torch.zeros(2, 1), times, INDEX)


def test_one_model_per_step_is_checked() -> None:
    with pytest.raises(ValueError, match="got 3 models for a grid of 1 steps"):
        plan_walk([still] * 3, torch.zeros(2, 1), torch.tensor([[0.0], [1.0]]), INDEX)


@pytest.mark.usefixtures("unchecked")
def test_index_is_checked() -> None:
    with pytest.raises(ValueError, match=r"sample_index has shape \(3,\), expected \(2,\)"):
        plan_walk(still, torch.zeros(2, 1), torch.tensor([[0.0], [1.0]]), torch.zeros(3, dtype=torch.int64))
