"""Attention over packed sequences equals dense attention under a mask."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.dit import Attention, Borders, attend, backends
from omnigen2.dit.backends import LONG, AttentionBackend, check_backend
from omnigen2.layout import Ragged
from tests.strategies import seeds

lengths = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def dense(query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
    """Softmax attention written out in full, keys of other sequences masked, heads repeated."""
    ratio = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(ratio, dim=1), value.repeat_interleave(ratio, dim=1)
    owner = Ragged.of(lengths).owners()
    scores = torch.einsum("qhd,khd->hqk", query, key) / query.shape[2] ** 0.5
    scores = scores.masked_fill(owner[:, None] != owner, float("-inf"))
    return torch.einsum("hqk,khd->qhd", scores.softmax(dim=-1), value)


def heads(seed: int, tokens: int, query_heads: int, kv_heads: int, device: str = "cpu", dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((tokens, query_heads, 8), (tokens, kv_heads, 8), (tokens, kv_heads, 8))
    return [torch.randn(s, generator=generator, dtype=torch.float64).to(device, dtype).requires_grad_() for s in shapes]


def borders(lengths: list[int], device: str = "cpu") -> Borders:
    return Borders.of(Ragged.of(lengths), torch.device(device))


@pytest.mark.parametrize("backend", ["auto", "sdpa"])
@given(lengths=lengths, kv_heads=st.integers(1, 3), ratio=st.integers(1, 3), seed=seeds)
def test_packed_attention_is_dense_attention(backend, lengths, kv_heads: int, ratio: int, seed: int) -> None:
    qkv = heads(seed, sum(lengths), kv_heads * ratio, kv_heads)
    packed = attend(*qkv, borders(lengths), backend)
    expected = dense(*qkv, lengths)
    torch.testing.assert_close(packed, expected)
    weights = torch.randn(expected.shape, dtype=torch.float64)
    gradients = torch.autograd.grad((packed * weights).sum(), qkv)
    for gradient, wanted in zip(gradients, torch.autograd.grad((expected * weights).sum(), qkv), strict=True):
        torch.testing.assert_close(gradient, wanted)


@given(
    lengths=lengths, kv_heads=st.integers(1, 3), ratio=st.integers(1, 3), seed=seeds, short=st.integers(0, 10),
    piece=st.sampled_from([1, 40, backends.PIECE]),
)  # fmt: skip
def test_explicit_products_are_the_kernel(
    lengths, kv_heads: int, ratio: int, seed: int, short: int, piece: int
) -> None:
    """However few scores are computed at a time."""
    qkv = heads(seed, sum(lengths), kv_heads * ratio, kv_heads)
    outcomes = []
    for products in (False, True):
        choice = {"_is_for_products": lambda _, products=products: products}
        with patch.multiple(backends, SHORT=short, PIECE=piece, **choice):
            out = attend(*qkv, borders(lengths), "sdpa")
        outcomes.append([out, *torch.autograd.grad(out.square().sum(), qkv)])
    torch.testing.assert_close(outcomes[1], outcomes[0])


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("lengths", [[9, 30, 30], [70, 100, 64]])
def test_bfloat16_on_a_cpu_errs_no_more_than_the_kernel(lengths: list[int], autocast: bool) -> None:
    """Scores rounded to bfloat16 would double the error."""
    exact = [states.detach() for states in heads(0, sum(lengths), 4, 2)]
    exact[1] = exact[0][:, :2] * 2 + exact[1]  # tokens look at themselves: scores of up to 15
    packed = [states.bfloat16().double().requires_grad_() for states in exact]
    expected = dense(*packed, lengths)
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    wanted = [expected.detach(), *torch.autograd.grad(expected, packed, weights.double())]

    def errors(long: int) -> list[float]:
        rounded = [states.detach().bfloat16().requires_grad_() for states in packed]
        with (
            patch.multiple(backends, LONG=long),
            torch.autocast("cpu", enabled=autocast),
        ):
            out = attend(*rounded, borders(lengths), "auto")
        assert out.dtype == torch.bfloat16
        found = [out.detach(), *torch.autograd.grad(out, rounded, weights)]
        return [float((got - want).norm() / want.norm()) for got, want in zip(found, wanted, strict=True)]

    ours, kernel = errors(LONG), errors(0)
    assert all(own < 1.4 * other for own, other in zip(ours, kernel, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["varlen", "flash_attn", "auto"])
@pytest.mark.parametrize("kv_heads", [1, 7])
def test_cuda_kernels_are_dense_attention(backend: AttentionBackend, kv_heads: int) -> None:
    lengths = [5, 300, 1, 64]
    qkv = heads(0, sum(lengths), 7, kv_heads, "cuda", torch.bfloat16)
    actual = attend(*qkv, borders(lengths, "cuda"), backend)
    expected = dense(*(states.cpu().double() for states in qkv), lengths)
    torch.testing.assert_close(actual.cpu().double(), expected, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("backend", ["varlen", "flash_attn"])
def test_cuda_kernels_refuse_the_cpu(backend: AttentionBackend) -> None:
    with pytest.raises(
        ValueError, match=rf'"{backend}" needs float16 or bfloat16 on CUDA, got torch.float64 on cpu; use "auto"'
    ):
        attend(*heads(0, 4, 2, 2), borders([4]), backend)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "flash_attn", None)
    with pytest.raises(ImportError, match=r'pip install "omnigen2\[flash\]", or use "auto"'):
        check_backend("flash_attn")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 3, 3), r"hidden_size \(10\) must be a multiple of num_heads \(3\)"),
        ((42, 21, 8), r"num_heads \(21\) must be a multiple of num_kv_heads \(8\); use one of \[1, 3, 7, 21\]"),
    ],
)
def test_heads_that_do_not_divide_are_refused(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Attention(*arguments)
