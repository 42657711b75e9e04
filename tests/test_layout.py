"""Laws of the packed layout."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.layout import ImageSegment, Layout, Ragged, TextSegment, pack, unpack
from tests.strategies import layouts, samples, seeds

lengths = st.lists(st.integers(0, 7), min_size=1, max_size=8)


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
    ],
)
def test_refusals_name_what_was_got(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
