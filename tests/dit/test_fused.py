"""The fused functions are their plain formulas, in value and gradient, and keep what they are given and little else."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import grad
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from omnigen2.dit import fused
from omnigen2.dit.fused import scaled_norm, silu_product, turned_norm
from omnigen2.rope import Rotation, apply_rotation
from tests.strategies import seeds

EPS = 1e-5
KINDS = ("plain norm", "scaled norm", "gated residual", "turned norm", "silu product")
Case = tuple[Callable[..., Tensor], Callable[..., Tensor], list[Tensor]]


def case(kind: str, tokens: int, samples: int, seed: int, device: str = "cpu") -> Case:
    """A fused function, its plain formula, and tensors for both: float32 values, which want gradients."""
    generator = torch.Generator().manual_seed(seed)
    owner = torch.randint(samples, (tokens,), generator=generator).to(device)
    angle = (6 * torch.rand(tokens, 3, generator=generator)).to(device)
    rotation = Rotation(angle.cos(), angle.sin())

    def norm(states: Tensor) -> Tensor:
        return states * (states.square().mean(-1, keepdim=True) + EPS).rsqrt()

    def turn(states: Tensor, weight: Tensor) -> Tensor:
        even, odd = (norm(states) * weight).unflatten(-1, (3, 2)).unbind(-1)
        cos, sin = rotation.cos[:, None], rotation.sin[:, None]
        return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)

    fused_function, plain, shapes = {
        "plain norm": (lambda x, w: scaled_norm(x, w, None, EPS), lambda x, w: norm(x) * w, ((tokens, 6), (1, 6))),
        "scaled norm": (
            lambda x, s: scaled_norm(x, s, owner, EPS),
            lambda x, s: norm(x) * s[owner],
            ((tokens, 6), (samples, 6)),
        ),
        "gated residual": (
            lambda x, s, r: scaled_norm(x, s, owner, EPS, r),
            lambda x, s, r: r + norm(x) * s[owner],
            ((tokens, 6), (samples, 6), (tokens, 6)),
        ),
        "turned norm": (lambda x, w: turned_norm(x, w, rotation, EPS), turn, ((tokens, 2, 6), (6,))),
        "silu product": (silu_product, lambda g, u: F.silu(g) * u, ((tokens, 64), (tokens, 64))),
    }[kind]
    return fused_function, plain, [torch.randn(s, generator=generator).to(device).requires_grad_() for s in shapes]


@pytest.fixture(params=[1, 40, 10**6], ids=["token by token", "a few tokens", "all at once"])
def piece(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(fused, "PIECE", request.param)
    return request.param


@pytest.mark.usefixtures("piece")
@pytest.mark.parametrize("kind", KINDS)
def test_each_is_its_formula(kind: str) -> None:
    @given(st.integers(0, 30), st.integers(1, 4), seeds)
    def law(tokens: int, samples: int, seed: int) -> None:
        function, plain, tensors = case(kind, tokens, samples, seed)
        exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
        actual, expected = function(*tensors), plain(*exact)
        torch.testing.assert_close(actual, expected.float(), rtol=1e-4, atol=1e-5)
        weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(seed))
        gradients = grad((actual * weights).sum(), tensors), grad((expected * weights).sum(), exact)
        for got, wanted in zip(*gradients, strict=True):
            atol = 1e-5 * (1 + wanted.abs().max().item() if wanted.numel() else 0)
            torch.testing.assert_close(got, wanted.float(), rtol=1e-3, atol=atol)

    law()


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_is_the_same_in_any_company(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, wherever the borders of pieces are: one seed is one picture. (Widths are whole vectors for silu.)"""
    function, _, tensors = case(kind, 50, 3, 0)
    together = function(*tensors)
    monkeypatch.setattr(fused, "PIECE", 1)
    assert torch.equal(function(*tensors), together)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_kept_is_given(kind: str) -> None:
    function, _, tensors = case(kind, 64, 2, 0)
    given_storages = {tensor.untyped_storage().data_ptr() for tensor in tensors}
    kept: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = function(*tensors)
    own = [tensor for tensor in kept if tensor.untyped_storage().data_ptr() not in given_storages]
    assert sum(tensor.numel() for tensor in own if tensor.is_floating_point()) <= 64 * (
        2 if "turned" not in kind else 8
    )
    assert result.requires_grad


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_rounded_once(kind: str) -> None:
    """Numbers in between are float32, so the error is that of rounding the result (silu is rounded before)."""
    function, plain, tensors = case(kind, 40, 3, 0)
    rounded = [tensor.detach().bfloat16().requires_grad_() for tensor in tensors]
    exact = [tensor.detach().double().requires_grad_() for tensor in rounded]
    actual, expected = function(*rounded), plain(*exact)
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual.double(), expected, rtol=2**-7 if kind == "silu product" else 2**-8, atol=1e-6)
    for got, wanted in zip(grad(actual.sum(), rounded), grad(expected.sum(), exact), strict=True):
        assert got.dtype == torch.bfloat16
        torch.testing.assert_close(got.double(), wanted, rtol=0.02, atol=0.02 * wanted.abs().max().item())


def test_under_autocast_layers_get_bfloat16_and_the_residual_stream_is_float32() -> None:
    """Also when the backward pass runs under autocast, gradients of scales are summed in float32."""
    function, _, (states, factor, residual) = case("gated residual", 4096, 1, 0)
    enter, _, _ = case("scaled norm", 4096, 1, 0)
    with torch.autocast("cpu", torch.bfloat16):
        entered = enter(states, factor)
        left = function(entered, factor, residual.bfloat16())
        turned = turned_norm(states[:, None].bfloat16(), factor[0], Rotation(*torch.rand(2, 4096, 3)), EPS)
        gradient = grad(function(states, factor, residual).sum(), factor)[0]
    assert (entered.dtype, left.dtype, turned.dtype) == (torch.bfloat16, torch.float32, torch.bfloat16)
    torch.testing.assert_close(gradient, grad(function(states, factor, residual).sum(), factor)[0], rtol=0, atol=0)


class Names(TorchDispatchMode):
    """Names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        del types
        self.seen.add(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_compiler_sees_is_the_same_without_complex_numbers(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, _, tensors = case(kind, 20, 3, 0)
    expected = function(*tensors)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    with Names() as names:
        actual = function(*tensors)
    torch.testing.assert_close(actual, expected)
    assert actual.grad_fn is not None
    assert "Normed" not in type(actual.grad_fn).__name__
    assert names.seen
    assert not [name for name in names.seen if "complex" in name]


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_gradients_are_refused(kind: str) -> None:
    function, _, tensors = case(kind, 4, 2, 0)
    first = grad(function(*tensors).square().sum(), tensors, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_on_a_gpu_each_is_its_formula(kind: str) -> None:
    function, plain, tensors = case(kind, 500, 4, 0, "cuda")
    exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
    actual, expected = function(*tensors), plain(*exact)
    torch.testing.assert_close(actual, expected.float(), rtol=1e-4, atol=1e-5)
    for got, wanted in zip(grad(actual.sum(), tensors), grad(expected.sum(), exact), strict=True):
        torch.testing.assert_close(got, wanted.float(), rtol=1e-3, atol=1e-5 * (1 + wanted.abs().max().item()))


def test_turning_is_that_of_rope() -> None:
    function, _, (states, weight) = case("turned norm", 7, 1, 0)
    rotation = Rotation(*torch.rand(2, 7, 3))
    expected = apply_rotation(F.rms_norm(states, (6,), weight, EPS), rotation)
    torch.testing.assert_close(turned_norm(states, weight, rotation, EPS), expected)
    assert function(states, weight).shape == expected.shape
