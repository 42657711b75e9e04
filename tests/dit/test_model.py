"""Laws of the whole transformer."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from omnigen2.dit import BlockGroup, Borders, DiffusionTransformer, Inputs, variants
from omnigen2.layout import ImageSegment, Layout, Ragged, TextSegment, unpack
from tests.paths import ROOT
from tests.strategies import SMALL, layouts, make_inputs, seeds, small_dit

DIT = small_dit()
LAYOUT = Layout(((TextSegment(3), ImageSegment(1, 2, "reference"), ImageSegment(2, 2, "target")),))
close = {"rtol": 1e-4, "atol": 1e-4}


def split(inputs: Inputs, x_t: Tensor, t: Tensor) -> list[tuple[Tensor, Tensor, Inputs]]:
    """The batch as batches of one sample."""
    layout = inputs.layout
    parts = (
        unpack(x_t, layout.per_sample("target")),
        unpack(inputs.text, layout.per_sample("text")),
        unpack(inputs.references, layout.per_sample("reference")),
    )
    return [
        (x, t[i : i + 1], Inputs(Layout((sample,)), text, references))
        for i, (sample, x, text, references) in enumerate(zip(layout.batch, *parts, strict=True))
    ]


@torch.no_grad()
@given(layouts(), seeds)
def test_a_packed_batch_is_each_sample_alone(layout: Layout, seed: int) -> None:
    x_t, t, inputs = make_inputs(layout, seed)
    together = unpack(DIT(x_t, t, inputs), layout.per_sample("target"))
    for velocity, (x, time, alone) in zip(together, split(inputs, x_t, t), strict=True):
        torch.testing.assert_close(velocity, DIT(x, time, alone), **close)


@torch.no_grad()
@given(layouts(), seeds)
def test_prepare_and_step_are_the_whole_forward(layout: Layout, seed: int) -> None:
    x_t, t, inputs = make_inputs(layout, seed)
    condition = DIT.prepare(inputs)
    torch.testing.assert_close(DIT(x_t, t, condition), DIT(x_t, t, inputs), rtol=0, atol=0)
    torch.testing.assert_close(DIT(x_t, t, condition), DIT(x_t, t, inputs), rtol=0, atol=0)


def refined(dit: DiffusionTransformer, run: Callable[[], object], group: str, borders: Ragged) -> Tensor:
    """What the last block of a refiner puts out during a run, in the order of the layout."""
    caught: list[Tensor] = []
    handle = getattr(dit, group)[-1].register_forward_hook(lambda _m, _i, output: caught.append(output))
    run()
    handle.remove()
    unsorted = Borders.of(borders, torch.device("cpu")).unsorted
    return caught[0] if unsorted is None else caught[0][unsorted]


@torch.no_grad()
@given(layouts(), seeds, st.data())
def test_one_reference_does_not_change_another_s_refinement(layout: Layout, seed: int, data) -> None:
    borders = layout.segments("reference")
    assume(len(borders) >= 2)
    x_t, t, inputs = make_inputs(layout, seed)
    changed = data.draw(st.integers(0, len(borders) - 1))
    other = [r + (i == changed) for i, r in enumerate(unpack(inputs.references, borders))]
    before = refined(DIT, lambda: DIT(x_t, t, inputs), "reference_refiner", borders)
    replaced = inputs._replace(references=torch.cat(other))
    after = refined(DIT, lambda: DIT(x_t, t, replaced), "reference_refiner", borders)
    for number, (old, new) in enumerate(zip(unpack(before, borders), unpack(after, borders), strict=True)):
        if number == changed:
            assert not torch.allclose(old, new)
        else:
            torch.testing.assert_close(old, new, rtol=0, atol=0)


@torch.no_grad()
def test_joint_blocks_see_text_and_every_reference() -> None:
    reference, target = ImageSegment(2, 2, "reference"), ImageSegment(2, 2, "target")
    layout = Layout(((TextSegment(3), reference, reference, target), (TextSegment(2), target)))
    x_t, t, inputs = make_inputs(layout, 0)
    before = unpack(DIT(x_t, t, inputs), layout.per_sample("target"))
    for field, row in (("text", 0), ("references", 0), ("references", 4)):
        changed = getattr(inputs, field).clone()
        changed[row] += 1
        after = unpack(DIT(x_t, t, inputs._replace(**{field: changed})), layout.per_sample("target"))
        assert (after[0] - before[0]).abs().min() > 1e-5
        torch.testing.assert_close(after[1], before[1], rtol=0, atol=0)


@torch.no_grad()
@given(layouts(needs_target=True), seeds, st.integers(0, 2**31))
def test_output_is_zero_at_initialisation(layout: Layout, seed: int, weight_seed: int) -> None:
    torch.manual_seed(weight_seed)
    x_t, t, inputs = make_inputs(layout, seed)
    velocity = DiffusionTransformer(SMALL)(x_t, t, inputs)
    torch.testing.assert_close(velocity, torch.zeros_like(x_t), rtol=0, atol=0)


@torch.no_grad()
def test_the_image_index_tells_identical_references_apart() -> None:
    """Two equal references under a scheme that gives both the same place differ by the index alone."""
    reference = ImageSegment(1, 1, "reference")
    layout = Layout(((reference, reference, ImageSegment(1, 1, "target")),))
    x_t, t, inputs = make_inputs(layout, 0)
    inputs = inputs._replace(references=inputs.references[:1].expand(2, -1))
    embedded = DIT.prepare(inputs).references
    assert DIT.reference_index is not None
    torch.testing.assert_close(embedded[1] - embedded[0], DIT.reference_index.weight[1] - DIT.reference_index.weight[0])


@given(layouts(max_samples=3), seeds)
def test_checkpointing_changes_no_gradient(layout: Layout, seed: int) -> None:
    groups: tuple[BlockGroup, ...] = ("text_refiner", "reference_refiner", "noise_refiner", "blocks")
    x_t, t, inputs = make_inputs(layout, seed)
    gradients = []
    for dit in (small_dit(), small_dit(checkpointing=groups)):
        dit(x_t, t, inputs).square().sum().backward()
        gradients.append({name: weight.grad for name, weight in dit.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, msg=name)


class Recorder(TorchDispatchMode):
    """Names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, tuple]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        self.calls.append((str(func), args))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("group", ["text_refiner", "reference_refiner", "noise_refiner", "blocks"])
def test_only_the_named_group_is_computed_again(group: BlockGroup) -> None:
    x_t, t, inputs = make_inputs(LAYOUT, 0)
    counts = []
    for groups in ((), (group,)):
        dit = small_dit(checkpointing=groups)
        loss = dit(x_t, t, inputs).square().sum()
        with Recorder() as recorder:
            loss.backward()
        counts.append(sum("scaled_dot_product" in name and "backward" not in name for name, _ in recorder.calls))
    assert counts == [0, SMALL.num_layers if group == "blocks" else SMALL.num_refiner_layers]


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_velocity_has_the_dtype_of_x_t(dtype: torch.dtype) -> None:
    x_t, t, inputs = make_inputs(LAYOUT, 0)
    expected = DIT(x_t, t, inputs)
    velocity = small_dit().to(dtype)(x_t, t, inputs)
    assert velocity.dtype == x_t.dtype == torch.float32
    torch.testing.assert_close(velocity, expected, rtol=0.1, atol=0.1 * expected.abs().max().item())


@torch.no_grad()
def test_autocast_runs() -> None:
    x_t, t, inputs = make_inputs(LAYOUT, 0)
    expected = DIT(x_t, t, inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        velocity = DIT(x_t, t, inputs)
    assert velocity.dtype == torch.float32
    torch.testing.assert_close(velocity, expected, rtol=0.1, atol=0.1 * expected.abs().max().item())


@given(layouts())
def test_forward_never_asks_the_device(layout: Layout) -> None:
    """Meta tensors have no values: any `.item()`, `.tolist()` or `nonzero` on them would raise."""
    with torch.device("meta"):
        dit = DiffusionTransformer(SMALL)
    x_t, t, inputs = make_inputs(layout, 0)
    inputs = Inputs(layout, inputs.text.to("meta"), inputs.references.to("meta"))
    velocity = dit(x_t.to("meta"), t.to("meta"), inputs)
    velocity.sum().backward()
    assert velocity.shape == x_t.shape
    assert all(weight.grad is not None for weight in dit.blocks.parameters())


def test_the_released_model_runs_on_the_meta_device() -> None:
    image = ImageSegment(64, 64, "target")
    layout = Layout(((TextSegment(100), ImageSegment(32, 48, "reference"), image), (TextSegment(9), image)))
    with torch.device("meta"):
        dit = variants.omnigen2_4b()
        inputs = Inputs(layout, torch.empty(109, 2048), torch.empty(32 * 48, 64))
        velocity = dit(torch.empty(2 * 64 * 64, 64), torch.empty(2), inputs)
    assert velocity.shape == (8192, 64)


@torch.no_grad()
def test_on_cuda_the_packed_kernel_is_called_once_per_block() -> None:
    """Traced on fake CUDA tensors: `varlen` under "auto", key and value heads not repeated, offsets of the samples."""
    layout = Layout(
        ((TextSegment(3), ImageSegment(2, 2, "reference"), ImageSegment(2, 2, "target")), (TextSegment(1),))
    )
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"), Recorder() as recorder:
            dit = DiffusionTransformer(SMALL)
            inputs = Inputs(layout, torch.empty(4, SMALL.text_dim), torch.empty(4, SMALL.patch_channels))
            velocity = dit(torch.empty(4, SMALL.patch_channels), torch.empty(2), inputs)
    finally:
        torch.set_default_dtype(dtype)
    assert (velocity.device.type, velocity.dtype) == ("cuda", torch.bfloat16)
    kernels = [args for name, args in recorder.calls if "varlen_attn" in name]
    assert len(kernels) == 3 * SMALL.num_refiner_layers + SMALL.num_layers
    assert [args[0].shape[0] for args in kernels] == [4, 4, 4, 12, 12]
    assert {args[1].shape[1] for args in kernels} == {SMALL.num_kv_heads}
    assert [args[5] for args in kernels] == [3, 4, 4, 11, 11]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiles_as_one_graph(backend: str) -> None:
    """In a process of its own, because run-time type checks are no part of the graph."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.dit.compile_check", backend],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, t, i: (x[1:], t, i), r"x_t of shape \(3, 12\) .* expect \(4, 12\)"),
        (lambda x, t, i: (x, t[:0], i), r"t of shape \(0,\) .* expect \(1,\)"),
        (lambda x, t, i: (x, t, i._replace(text=i.text[:, 1:])), r"text features of shape \(3, 9\) .* \(3, 10\)"),
        (lambda x, t, i: (x, t, i._replace(references=i.references[:1])), r"patches of shape \(1, 12\) .* \(2, 12\)"),
    ],
)
def test_shapes_that_do_not_fit_the_layout_are_refused(change, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DIT(*change(*make_inputs(LAYOUT, 0)))


def test_a_sixth_reference_is_refused() -> None:
    layout = Layout(((*[ImageSegment(1, 1, "reference")] * 6, ImageSegment(1, 1, "target")),))
    with pytest.raises(ValueError, match="sample 0 has 6 references, but the image index embedding knows 5"):
        DIT(*make_inputs(layout, 0))
