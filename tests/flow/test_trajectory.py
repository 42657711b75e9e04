import pytest
import torch

from omnigen2.flow.trajectory import Trajectory


def make(stochastic: tuple[int, ...], rows: int) -> Trajectory:
    return Trajectory(
        torch.zeros(4, 2), torch.arange(4.0)[:, None, None], torch.arange(2.0 * rows).reshape(rows, 2), stochastic
    )


def test_only_stochastic_steps_have_a_log_probability() -> None:
    walk = make((0, 2), 2)
    steps = list(walk.stochastic_steps())
    assert [step.index for step in steps] == [0, 2]
    assert [step.log_prob.tolist() for step in steps] == [[0, 1], [2, 3]]
    assert [(step.x_t.item(), step.x_next.item()) for step in steps] == [(0, 1), (2, 3)]
    assert walk.final.item() == 3


@pytest.mark.parametrize(("stochastic", "rows"), [((0, 1), 1), ((), 1)])
def test_rows_must_match_the_steps(stochastic: tuple[int, ...], rows: int) -> None:
    with pytest.raises(ValueError, match=rf"{len(stochastic)} stochastic steps .* but {rows} rows of log_probs"):
        make(stochastic, rows)


@pytest.mark.parametrize("stochastic", [(1, 0), (0, 0), (2, 3), (-1, 0)])
def test_steps_must_increase_within_the_grid(stochastic: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"stochastic steps \(.*\) must increase within the grid's 3 steps"):
        make(stochastic, 2)
