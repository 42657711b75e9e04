"""The loss of answers: which tokens are targets, and what it is the mean of."""

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from omnigen2.encoders import QwenEncoder
from omnigen2.microworld.runs.vlm import RandomMicroVLM
from omnigen2.training.language.exchanges import ExchangeBatch, answer_loss, teach
from tests.training.exchange_parts import QUESTION, REQUEST


@pytest.fixture(scope="module")
def encoder() -> QwenEncoder:
    """Shared: do not change it."""
    return RandomMicroVLM().load()


def test_targets_are_the_answers_and_what_ends_them(encoder: QwenEncoder) -> None:
    drawn = replace(REQUEST, answer="the red circle")
    taught = teach(encoder.tokenizer, [QUESTION, REQUEST, drawn])
    tokens = encoder.tokenizer.tokenizer.convert_ids_to_tokens(taught.targets.tolist())
    assert tokens == ["yes", "<|im_end|>", "<|img|>", "the", "red", "circle", "<|img|>"]
    packed = taught.prompts.ids[taught.prompts.attention_mask.bool()]
    assert torch.equal(packed[taught.at + 1], taught.targets)
    before = encoder.tokenizer.tokenizer.convert_ids_to_tokens(packed[taught.at].tolist())
    assert before == ["assistant", "yes", "assistant", "assistant", "the", "red", "circle"]


def test_the_loss_is_that_of_transformers(encoder: QwenEncoder) -> None:
    taught = teach(encoder.tokenizer, [QUESTION, replace(REQUEST, answer="a b c d")])
    batch = taught.prompts
    logits = cast(Any, encoder.model)(
        input_ids=batch.ids,
        attention_mask=batch.attention_mask,
        position_ids=encoder.positions(batch),
        pixel_values=batch.pixel_values,
        image_grid_thw=batch.grids,
    ).logits
    expected = cross_entropy(logits[batch.attention_mask.bool()][taught.at], taught.targets)
    torch.testing.assert_close(answer_loss(encoder, taught), expected, rtol=1e-5, atol=1e-6)


@given(answers=st.lists(st.sampled_from(["", "yes", "in the top left", "a b c d e"]), min_size=2, max_size=4))
def test_the_loss_of_a_batch_is_the_mean_over_all_its_tokens(encoder: QwenEncoder, answers: list[str]) -> None:
    exchanges = [replace(QUESTION if i % 2 else REQUEST, answer=answer) for i, answer in enumerate(answers)]
    alone = [teach(encoder.tokenizer, [each]) for each in exchanges]
    counts = torch.tensor([len(each.targets) for each in alone])
    assert counts.tolist() == [len(answer.split()) + 1 for answer in answers]
    mean = (torch.stack([answer_loss(encoder, each) for each in alone]) * counts).sum() / counts.sum()
    torch.testing.assert_close(answer_loss(encoder, teach(encoder.tokenizer, exchanges)), mean, rtol=1e-4, atol=1e-5)


def test_a_batch_stays_on_the_host() -> None:
    batch = ExchangeBatch((QUESTION,))
    assert batch.to(torch.device("meta")) is batch
