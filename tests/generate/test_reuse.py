"""Caches in the denoising loop: the laws that every rule keeps."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributed.device_mesh import init_device_mesh

from omnigen2.dit.cache import Count
from omnigen2.errors import UserError
from omnigen2.flow import SquareRootShift
from omnigen2.generate.branches import EncodedSample
from omnigen2.generate.denoise import denoise
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.request import Sampling, SolverName
from omnigen2.training.parts import shard_transformer

from .test_denoise import batches, sample, trained

NOTHING: list[dict[str, Any]] = [
    {"cache": "forecast", "cache_threshold": 0.0},
    {"cache": "first_block", "cache_threshold": 0.0},
    {"cache": "teacache", "cache_threshold": 0.0},
    {"cache": "taylorseer", "cache_interval": 1},
]
SOME: list[dict[str, Any]] = [
    {"cache": "forecast", "cache_threshold": 2.0},
    {"cache": "first_block", "cache_threshold": 1.5},
    {"cache": "teacache", "cache_threshold": 1.0},
    {"cache": "taylorseer", "cache_interval": 2},
    {"guidance_every": 2},
    {"cache": "first_block", "cache_threshold": 1.5, "guidance_every": 2},
    {"cache": "forecast", "cache_threshold": 2.0, "guidance_every": 3},
]
solvers = st.sampled_from(["euler", "heun", "dpm2"])
guided = st.sampled_from([(1.0, 1.0), (2.0, 1.0), (2.0, 2.0)])
DIT = trained()
names = lambda one: "_".join(map(str, one.values()))  # noqa: E731


def drawn(batch: list[EncodedSample], count: Count | None = None, **options: Any) -> list[torch.Tensor]:
    return denoise(DIT, batch, Sampling(**options), SquareRootShift(), count=count)


@pytest.mark.parametrize("nothing", NOTHING, ids=names)
@settings(max_examples=3)
@given(batch=batches, solver=solvers, scales=guided, interval=st.sampled_from([(0.0, 1.0), (0.3, 0.7)]))
def test_a_rule_that_reuses_nothing_changes_no_bit(
    nothing: dict[str, Any],
    batch: list[EncodedSample],
    solver: SolverName,
    scales: tuple[float, float],
    interval: tuple[float, float],
) -> None:
    shared: dict[str, Any] = {"steps": 5, "solver": solver, "guidance_interval": interval}
    shared |= {"text_scale": scales[0], "image_scale": scales[1]}
    plain, count = drawn(batch, **shared), Count()
    cached = drawn(batch, count, **shared, **nothing)
    assert all(torch.equal(one, other) for one, other in zip(plain, cached, strict=True))
    assert count.saved == 1


@pytest.mark.parametrize("some", SOME, ids=names)
@settings(max_examples=3)
@given(batch=batches, solver=solvers, image_scale=st.sampled_from([1.0, 2.0]))
def test_what_a_picture_reuses_does_not_depend_on_its_neighbours(
    some: dict[str, Any], batch: list[EncodedSample], solver: SolverName, image_scale: float
) -> None:
    options: dict[str, Any] = {"steps": 9, "text_scale": 2.0, "image_scale": image_scale, "solver": solver, **some}
    if image_scale > 1:  # as many branches for each picture alone as for all together
        batch = [own for own in batch if own.references] or [sample(0, [(1, 1)], 2, 2)]
    together_count, alone_count = Count(), Count()
    together = drawn(batch, together_count, **options)
    for own, found in zip(batch, together, strict=True):
        (alone,) = drawn([own], alone_count, **options)
        torch.testing.assert_close(found, alone, rtol=1e-3, atol=1e-3)
    assert together_count == alone_count


@pytest.mark.parametrize("some", SOME, ids=names)
def test_something_is_saved_and_drawing_again_draws_the_same(some: dict[str, Any]) -> None:
    batch, count = [sample(0, [(1, 1)], 2, 2), sample(1, [], 1, 2)], Count()
    first = drawn(batch, count, steps=14, text_scale=2.0, image_scale=2.0, **some)
    assert count.saved > 1.1
    again = drawn(batch, steps=14, text_scale=2.0, image_scale=2.0, **some)
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


@pytest.mark.parametrize("some", SOME, ids=names)
@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_the_first_step_and_the_last_are_computed(some: dict[str, Any], solver: SolverName) -> None:
    """Also where the threshold lets everything pass."""
    everything = {key: 1e9 if key == "cache_threshold" else value for key, value in some.items()}
    everything |= {"cache_interval": 10_000} if some.get("cache") == "taylorseer" else {}
    count, after = Count(), [0]
    sampling = Sampling(steps=12, text_scale=2.0, solver=solver, **everything)
    told = lambda *_: after.append(count.computed)  # noqa: E731
    denoise(DIT, [sample(0, [], 2, 2)], sampling, SquareRootShift(), told, count)
    each = [there - here for here, there in pairwise(after)]
    rows = 2 * len(DIT.blocks) * (2 if solver == "heun" else 1)
    assert each[0] == each[-1] == rows
    assert min(each) < rows


@pytest.fixture
def one_rank() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_rank")
def test_ranks_that_share_weights_decide_by_the_step_alone() -> None:
    """Others would wait for each other in different blocks."""
    dit, batch = trained(), [sample(0, [], 2, 2)]
    fixed = Sampling(steps=4, cache="taylorseer", cache_interval=2, guidance_every=2)
    expected = denoise(dit, batch, fixed, SquareRootShift())
    shard_transformer(dit, init_device_mesh("cpu", (1,)), "fp32")
    found = denoise(dit, batch, fixed, SquareRootShift())
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    for name in ("forecast", "first_block", "teacache"):
        with pytest.raises(UserError, match=r"Cache decides by what is drawn, .*\n  decide by the step: TaylorSeer"):
            denoise(dit, batch, Sampling(steps=4, cache=name), SquareRootShift())


@pytest.mark.parametrize(
    "wrong",
    [
        {"cache_threshold": 0.1},
        {"cache": "taylorseer", "cache_threshold": 0.1},
        {"cache": "forecast", "cache_threshold": -1.0},
        {"cache": "forecast", "cache_threshold": float("nan")},
        {"cache": "forecast", "cache_interval": 2},
        {"cache": "taylorseer", "cache_interval": 0},
        {"guidance_every": 0},
    ],
    ids=names,
)
def test_what_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(GenerateError):
        Sampling(**wrong)
