"""The image-index embedding."""

import pytest
import torch
from hypothesis import given

from omnigen2.layout import ImageSegment, Layout, TextSegment
from omnigen2.rope import ImageIndexEmbedding
from tests.strategies import layouts


@given(layouts())
def test_every_reference_gets_its_own_vector(layout: Layout) -> None:
    embedding = ImageIndexEmbedding(5, 4)
    embedding.check(layout)
    numbers = layout.reference_numbers()
    states = torch.randn(len(numbers), 4)
    torch.testing.assert_close(embedding(states, numbers) - states, embedding.weight[numbers])


def test_vectors_are_drawn_as_the_official_ones() -> None:
    torch.manual_seed(0)
    weight = ImageIndexEmbedding(5, 4000).weight.detach()
    assert abs(float(weight.std()) - 0.02) < 5e-4
    assert abs(float(weight.mean())) < 5e-4


def test_too_many_references_are_refused() -> None:
    reference = ImageSegment(1, 1, "reference")
    layout = Layout(((TextSegment(1),), (reference, reference, reference)))
    with pytest.raises(ValueError, match=r"sample 1 has 3 references, but .* knows 2; .*max_references=3"):
        ImageIndexEmbedding(2, 4).check(layout)
