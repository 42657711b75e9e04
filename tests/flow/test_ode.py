import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.flow.ode import DPMSolver, EulerSolver, HeunSolver, Solver
from omnigen2.flow.schedule import IdentityShift, SquareRootShift, time_grid

from .cases import parity
from .fields import gaussian_flow, slope

DPM = [
    DPMSolver(),
    DPMSolver(correction="heun"),
    DPMSolver(order=3),
    DPMSolver(order=3, second_difference="halved"),
]
SOLVERS: list[Solver] = [EulerSolver(), HeunSolver(), *DPM]
ORDERS = [
    (EulerSolver(), 1),
    (HeunSolver(), 2),
    (DPMSolver(), 2),
    (DPMSolver(correction="heun"), 2),
    (DPMSolver(order=3), 3),
    (DPMSolver(order=3, second_difference="halved"), 2),
]
over_solvers = pytest.mark.parametrize("solver", SOLVERS, ids=repr)


def grid(steps: int, start: float = 0.0, end: float = 1.0, power: float = 1.0) -> Tensor:
    """Two samples, the second one shifted; small first steps for power above 1, so that the start does not count."""
    t = start + (end - start) * torch.linspace(0, 1, steps + 1, dtype=torch.float64) ** power
    return torch.stack([t, t / (t + 1.5 * (1 - t))], dim=1)


@pytest.mark.parametrize(("solver", "order"), ORDERS, ids=[repr(solver) for solver, _ in ORDERS])
def test_order_of_convergence_is_the_slope(solver: Solver, order: int) -> None:
    flow, noise = gaussian_flow()
    steps, errors = [128, 256, 512], []
    for n in steps:
        times = grid(n, 0.25, 0.75, power=2)
        found = solver.solve(flow, noise, times, flow.sample_index)
        errors.append((found - flow.exact(noise, times[0], times[-1])).abs().max().item())
    assert slope(steps, errors) == pytest.approx(order, abs=0.3)


@over_solvers
def test_the_whole_path_converges_to_the_exact_flow(solver: Solver) -> None:
    flow, noise = gaussian_flow()
    times = grid(400)
    found = solver.solve(flow, noise, times, flow.sample_index)
    torch.testing.assert_close(found, flow.exact(noise, times[0], times[-1]), rtol=0, atol=6e-3)


@over_solvers
@given(steps=st.integers(1, 20), seed=st.integers(0, 2**31))
def test_straight_paths_are_solved_exactly(solver: Solver, steps: int, seed: int) -> None:
    noise, data = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = solver.solve(lambda x_t, t: data - noise, noise, grid(steps), torch.arange(2).repeat(3))
    torch.testing.assert_close(found, data, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("solver", [DPMSolver(order=2, correction="heun"), DPMSolver(order=3)], ids=repr)
@given(times=st.lists(st.floats(0.02, 0.98), min_size=18, max_size=24, unique_by=lambda t: round(t, 2)))
def test_dpm_weights_integrate_polynomials_in_lambda_exactly(solver: DPMSolver, times: list[float]) -> None:
    """For data predictions 1, λ and λ² the exact states are t, t (λ - 1) and t (λ² - 2λ + 2)."""
    t = torch.tensor(sorted(times), dtype=torch.float64)
    lam = t.log() - torch.log1p(-t)
    weights = solver.weights(t[:, None])[..., 0]
    powers = [torch.ones_like(lam), lam, lam.square()][: solver.order]
    states = [t, t * (lam - 1), t * (lam.square() - 2 * lam + 2)]
    for prediction, state in zip(powers, states, strict=False):
        for k in range(2, len(t) - 1):
            past = torch.stack([state[k], prediction[k], prediction[k - 1], prediction[k - 2]])
            torch.testing.assert_close((weights[k] * past).sum(), state[k + 1], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("solver", DPM, ids=repr)
@given(steps=st.integers(1, 30))
def test_dpm_weights_are_finite_from_end_to_end(solver: DPMSolver, steps: int) -> None:
    weights = solver.weights(grid(steps))
    assert weights.shape == (steps, 4, 2)
    assert weights.isfinite().all()
    assert (weights[0, 2:] == 0).all()
    torch.testing.assert_close(weights[-1, 1], torch.ones(2, dtype=torch.float64))


@over_solvers
@given(st.integers(0, 2**31))
def test_packing_changes_nothing(solver: Solver, seed: int) -> None:
    """Two samples with different grids in one packed run equal each sample alone."""
    torch.manual_seed(seed)
    weight, noise, index = torch.randn(3, 3), torch.randn(7, 3), torch.tensor([0, 1, 1, 0, 1, 0, 0])
    times = time_grid(6, SquareRootShift(), [16, 4096])

    def run(rows: Tensor, columns: list[int]) -> Tensor:
        owners = torch.zeros_like(index[rows]) if len(columns) == 1 else index[rows]

        def model(x_t: Tensor, t: Tensor) -> Tensor:
            return torch.tanh(x_t @ weight) + t[owners][:, None]

        return solver.solve(model, noise[rows], times[:, columns], owners)

    together = run(torch.arange(7), [0, 1])
    for sample in (0, 1):
        alone = run((index == sample).nonzero()[:, 0], [sample])
        torch.testing.assert_close(together[index == sample], alone)


@over_solvers
def test_models_per_step_are_used_in_turn(solver: Solver) -> None:
    calls: list[int] = []

    def numbered(k: int):  # noqa: ANN202 - a closure
        def model(x_t: Tensor, t: Tensor) -> Tensor:
            del t
            calls.append(k)
            return torch.zeros_like(x_t)

        return model

    times = time_grid(3, IdentityShift(), [4])
    states = list(
        solver.states([numbered(k) for k in range(3)], torch.ones(2, 1), times, torch.zeros(2, dtype=torch.int64))
    )
    assert sorted(set(calls)) == [0, 1, 2]
    assert calls == sorted(calls)
    assert len(states) == 3


@over_solvers
def test_gradients_flow_through_the_solve(solver: Solver) -> None:
    flow, noise = gaussian_flow()
    start = noise.clone().requires_grad_()
    solver.solve(flow, start, grid(20), flow.sample_index).sum().backward()
    expected = flow.spread_at(torch.ones(2, dtype=torch.float64))[flow.sample_index]
    assert start.grad is not None
    torch.testing.assert_close(start.grad[:, 0], expected, rtol=0.5, atol=0)


@over_solvers
def test_states_are_float32_for_a_bfloat16_model(solver: Solver) -> None:
    noise = torch.randn(4, 2)
    found = solver.solve(
        lambda x_t, t: (-x_t).bfloat16(), noise, time_grid(4, IdentityShift(), [4]), torch.zeros(4, dtype=torch.int64)
    )
    assert found.dtype == torch.float32


PARITY = {
    "trajectory_euler": EulerSolver(),
    "trajectory_dpmsolverpp2": DPMSolver(),
    "trajectory_dpmsolverpp2_heun": DPMSolver(correction="heun"),
    "trajectory_dpmsolverpp3": DPMSolver(order=3, second_difference="halved"),
}


@pytest.mark.parametrize("name", PARITY)
def test_parity_trajectories(name: str) -> None:
    tensors, case, tolerance = parity(name)
    matrix, offset, noise = tensors["inputs.A"], tensors["inputs.b"], tensors["inputs.x_init"]

    def model(x_t: Tensor, t: Tensor) -> Tensor:
        return (x_t.flatten(1) @ matrix.T + offset * t[:, None]).unflatten(1, x_t.shape[1:])

    for run in case["hyperparameters"]["runs"]:
        steps, pixels = run["num_steps"], run["num_tokens"]
        times = time_grid(steps, SquareRootShift(), [pixels // 4] * 2)
        states = torch.stack([noise, *PARITY[name].states(model, noise, times, torch.arange(2))])
        torch.testing.assert_close(states, tensors[f"outputs.trajectory.{steps}steps_{pixels}tokens"], **tolerance)
