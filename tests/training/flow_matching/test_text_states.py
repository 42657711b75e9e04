"""Instructions are read the same, remembered or not, alone or together."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.data import Example
from omnigen2.encoders import SYSTEM_PROMPT_DROPPED, HiddenStateBridge, PromptRules, QwenEncoder, drawing
from omnigen2.microworld.runs import RandomMicroVLM
from omnigen2.training.flow_matching import TextStates

ENCODER = RandomMicroVLM().load(HiddenStateBridge())
WORDS = ("a red square", "two blue crosses", "a green triangle left of a red cross", "")


def example(text: str, dropped: bool = False, level: float | None = None) -> Example:
    references = () if level is None else (torch.full((3, 64, 64), level),)
    return Example("text_to_image", "x", "x", text, dropped, references, torch.zeros(3, 4, 4), None, "")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), st.integers(1, 5))
def test_remembered_states_are_the_same(texts: list[str], remembered: int) -> None:
    batch = [example(text) for text in texts]
    reader = TextStates(ENCODER, remembered)
    reader.of(batch[::-1])
    known, fresh = reader.of(batch), TextStates(ENCODER).of(batch)
    assert known.borders == fresh.borders
    torch.testing.assert_close(known.states, fresh.states, atol=1e-5, rtol=1e-4)
    assert len(reader._known) <= remembered


def test_a_dropped_prompt_has_its_own_system_prompt() -> None:
    dropped, empty = (TextStates(ENCODER, 10).of([example("", value)]).states for value in (True, False))
    assert not torch.equal(dropped, empty)
    wanted = ENCODER(ENCODER.tokenizer([drawing("", (), SYSTEM_PROMPT_DROPPED)])).states
    torch.testing.assert_close(dropped, wanted)


def test_the_encoder_is_read_as_it_was_built() -> None:
    without = QwenEncoder(ENCODER.model, ENCODER.tokenizer, HiddenStateBridge(template="drop"))
    reader = TextStates(without, 10)
    assert reader.of([example("", True), example("a red square")]).borders.lengths == (0, 3)
    assert "template='drop'" in reader.prompts
    assert str(ENCODER.tokenizer.rules) in reader.prompts
    assert ENCODER.bridge == HiddenStateBridge()


def test_nothing_is_remembered_where_pictures_are_seen() -> None:
    seeing = RandomMicroVLM().load(HiddenStateBridge(), PromptRules(sees="text_and_images"))
    reader = TextStates(seeing, 10)
    one, other = (reader.of([example("make it red", level=level)]).states[-1] for level in (-1.0, 1.0))
    assert not torch.allclose(one, other)


def test_wrong_numbers() -> None:
    with pytest.raises(ValueError, match="remembered must be at least 0, got -1"):
        TextStates(ENCODER, -1)
