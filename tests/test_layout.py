"""Laws of the packed layout."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.layout import (
    ImageSegment,
    Layout,
    PaddingSide,
    Ragged,
    TextSegment,
    pack,
    pack_padded,
    unpack,
    unpack_padded,
)
from tests.strategies import layouts, samples, seeds

lengths = st.lists(st.integers(0, 7), min_size=1, max_size=8)
sides = st.sampled_from(("left", "right"))


@st.composite
def masks(draw: st.DrawFn) -> Tensor:
    """Padding on the left, on the right or anywhere; rows without tokens; booleans and integers."""
    if draw(st.booleans()):
        mask = Ragged.of(draw(lengths)).mask(side=draw(sides))
    else:
        width = draw(st.integers(1, 7))
        row = st.lists(st.booleans(), min_size=width, max_size=width)
        mask = torch.tensor(draw(st.lists(row, min_size=1, max_size=6)))
    return mask.to(draw(st.sampled_from((torch.bool, torch.int64))))


def dense(mask: Tensor, seed: int) -> Tensor:
    """A dense batch for a mask, with NaN in the padding."""
    values = torch.randn(*mask.shape, 2, 3, generator=torch.Generator().manual_seed(seed))
    return values.masked_fill(~mask.bool()[..., None, None], torch.nan)


@given(masks(), seeds)
def test_unpack_padded_inverts_pack_padded(mask: Tensor, seed: int) -> None:
    batch = dense(mask, seed)
    packed, borders = pack_padded(batch, mask)
    assert packed.shape == (borders.total, 2, 3)
    assert borders.lengths == tuple(mask.sum(1).tolist())
    assert torch.equal(unpack_padded(packed, mask), batch.nan_to_num())
    assert torch.equal(pack_padded(unpack_padded(packed, mask), mask)[0], packed)


@given(masks(), seeds)
def test_pack_padded_packs_the_rows(mask: Tensor, seed: int) -> None:
    batch = dense(mask, seed)
    packed, borders = pack_padded(batch, mask)
    assert torch.equal(packed, pack([row[real.bool()] for row, real in zip(batch, mask, strict=True)], borders))


@given(lengths, seeds, st.integers(0, 3))
def test_left_and_right_padding_pack_the_same(lengths: list[int], seed: int, more: int) -> None:
    borders = Ragged.of(lengths)
    tokens = torch.randn(borders.total, 3, generator=torch.Generator().manual_seed(seed))
    width = borders.max_length + more
    found: dict[PaddingSide, Tensor] = {}
    for side in ("left", "right"):
        mask = borders.mask(width, side)
        assert mask.shape == (len(lengths), width)
        found[side], again = pack_padded(unpack_padded(tokens, mask), mask)
        assert again == borders
    assert torch.equal(found["left"], found["right"])
    assert torch.equal(borders.mask(width, "left"), borders.mask(width, "right").flip(1))
    assert borders.mask(width).tolist() == [[place < length for place in range(width)] for length in lengths]


@given(masks(), seeds, st.randoms(use_true_random=False))
def test_permuting_a_dense_batch_permutes_the_packed_samples(mask: Tensor, seed: int, random) -> None:
    order = list(range(len(mask)))
    random.shuffle(order)
    batch = dense(mask, seed)
    pieces = unpack(*pack_padded(batch, mask))
    for piece, number in zip(unpack(*pack_padded(batch[order], mask[order])), order, strict=True):
        assert torch.equal(piece, pieces[number])


@given(masks(), seeds)
def test_gradients_reach_tokens_and_not_padding(mask: Tensor, seed: int) -> None:
    batch = dense(mask, seed).requires_grad_()
    packed, _ = pack_padded(batch, mask)
    weight = dense(mask, seed + 1).nan_to_num(nan=7.0)
    (unpack_padded(packed, mask) * weight).sum().backward()
    assert batch.grad is not None
    assert torch.equal(batch.grad, weight * mask[..., None, None])


def test_with_a_mask_on_the_host_nothing_is_read_from_the_device() -> None:
    mask = torch.tensor([[0, 1, 1], [1, 0, 0]])
    packed, borders = pack_padded(torch.empty(2, 3, 8, device="meta"), mask)
    assert (packed.device.type, packed.shape, borders) == ("meta", (3, 8), Ragged.of([2, 1]))
    assert unpack_padded(packed, mask).shape == (2, 3, 8)


@given(lengths, seeds)
def test_unpack_inverts_pack(lengths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sequences = [torch.randn(length, 3, generator=generator) for length in lengths]
    borders = Ragged.of(lengths)
    packed = pack(sequences, borders)
    assert packed.shape == (borders.total, 3)
    for piece, sequence in zip(unpack(packed, borders), sequences, strict=True):
        torch.testing.assert_close(piece, sequence, rtol=0, atol=0)


@given(lengths)
def test_offsets_add_up(lengths: list[int]) -> None:
    borders = Ragged.of(lengths)
    assert borders.lengths == tuple(lengths)
    assert len(borders) == len(lengths)
    assert borders.offsets[0] == 0
    assert borders.total == sum(lengths)
    assert borders.max_length == max(lengths)
    assert torch.bincount(borders.owners(), minlength=len(lengths)).tolist() == lengths


@given(layouts())
def test_kinds_partition_the_packed_axis(layout: Layout) -> None:
    indices = [layout.indices(kind) for kind in ("text", "reference", "target")]
    assert sorted(torch.cat(indices).tolist()) == list(range(layout.tokens))
    for kind, index in zip(("text", "reference", "target"), indices, strict=True):
        assert index.tolist() == sorted(index.tolist())
        assert layout.segments(kind).total == layout.per_sample(kind).total == len(index)
    assert layout.segments().total == layout.tokens == sum(layout.samples.lengths)


@given(layouts())
def test_order_inside_a_sample_is_text_references_target(layout: Layout) -> None:
    kind_of = torch.empty(layout.tokens, dtype=torch.int64)
    for number, kind in enumerate(("text", "reference", "target")):
        kind_of[layout.indices(kind)] = number
    for kinds in unpack(kind_of[:, None].float(), layout.samples):
        assert kinds.flatten().tolist() == sorted(kinds.flatten().tolist())


@given(layouts(max_samples=5), st.randoms(use_true_random=False))
def test_permuting_samples_permutes_tokens(layout: Layout, random) -> None:
    order = list(range(len(layout)))
    random.shuffle(order)
    permuted = Layout(tuple(layout.batch[i] for i in order))
    names = torch.arange(layout.tokens)[:, None].float()
    pieces = unpack(names, layout.samples)
    expected = torch.cat([pieces[i] for i in order])
    repacked = pack([pieces[i] for i in order], permuted.samples)
    torch.testing.assert_close(repacked, expected, rtol=0, atol=0)
    assert permuted.samples.lengths == tuple(layout.samples.lengths[i] for i in order)
    kinds = {kind: set(layout.indices(kind).tolist()) for kind in ("text", "reference", "target")}
    for kind, places in kinds.items():
        assert set(repacked.flatten()[permuted.indices(kind)].int().tolist()) == places


@given(layouts())
def test_reference_numbers_count_from_zero_in_every_sample(layout: Layout) -> None:
    numbers = unpack(layout.reference_numbers()[:, None].float(), layout.per_sample("reference"))
    for sample, found in zip(layout.batch, numbers, strict=True):
        references = [segment for segment in sample if segment.kind == "reference"]
        expected = [float(number) for number, image in enumerate(references) for _ in range(image.tokens)]
        assert found.flatten().tolist() == expected


@given(st.lists(samples(), min_size=2, max_size=4))
def test_join_concatenates(batches: list) -> None:
    assert Layout.join(Layout((sample,)) for sample in batches) == Layout(tuple(batches))


def test_layouts_are_hashable_values() -> None:
    def make() -> Layout:
        return Layout(((TextSegment(2), ImageSegment(1, 2, "target")),))

    assert make() == make()
    assert len({make(), make()}) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TextSegment(0), "at least 1 token, got 0"),
        (lambda: ImageSegment(0, 3, "target"), "got height 0 and width 3"),
        (lambda: Layout(()), "at least one sample"),
        (lambda: Layout(((TextSegment(1),), ())), "sample 1 of the Layout has no segments"),
        (
            lambda: Layout(((ImageSegment(1, 1, "target"), TextSegment(1)),)),
            r"sample 0 .* \['target', 'text'\]; expected at most one text",
        ),
        (lambda: Layout(((TextSegment(1), TextSegment(1)),)), r"\['text', 'text'\]"),
        (lambda: pack([torch.zeros(2, 1)], Ragged.of([3])), r"lengths \(2,\), but the layout plans \(3,\)"),
        (lambda: pack([], Ragged.of([])), "no sequences"),
        (lambda: unpack(torch.zeros(2, 1), Ragged.of([3])), "2 tokens, but the layout plans 3"),
        (lambda: Ragged.of([2, 5]).mask(4), "rows of length 4, but the longest sequence has 5 tokens"),
        (
            lambda: pack_padded(torch.zeros(2, 3, 8), torch.ones(2, 4, dtype=torch.bool)),
            r"batch of shape \(2, 3, 8\) and a mask of shape \(2, 4\); expected .* give the mask",
        ),
        (
            lambda: pack_padded(torch.zeros(2, 3, 8), torch.zeros(2, 3)),
            "mask of torch.float32, expected True or 1 where a token is; try `mask == 0`",
        ),
        (
            lambda: unpack_padded(torch.zeros(5, 8), torch.ones(2, 3, dtype=torch.bool)),
            r"got 5 tokens, but the mask has 6 places for them; give the mask .* or `borders.mask\(\)`",
        ),
    ],
)
def test_refusals_name_what_was_got(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
