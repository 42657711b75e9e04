"""Instructions are read the same, remembered or not, alone or together."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.data import Example
from omnigen2.encoders import SYSTEM_PROMPT_DROPPED, HiddenStateBridge, PromptRules, QwenEncoder, drawing
from omnigen2.microworld.runs.vlm import RandomMicroVLM
from omnigen2.training.flow_matching.text_states import TextStates

ENCODER = RandomMicroVLM().load()
WORDS = ("a red square", "two blue crosses", "a green triangle left of a red cross", "")


def example(text: str, dropped: bool = False) -> Example:
    return Example("text_to_image", "x", "x", text, dropped, (), torch.zeros(3, 4, 4), None, "")


def states(remembered: int, template: str = "keep") -> TextStates:
    bridge = HiddenStateBridge(template=template)  # pyright: ignore[reportArgumentType]
    return TextStates(ENCODER, bridge, PromptRules(), remembered)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6), st.integers(1, 5))
def test_remembered_states_are_the_same(texts: list[str], remembered: int) -> None:
    batch = [example(text) for text in texts]
    reader = states(remembered)
    reader.of(batch[::-1])
    known, fresh = reader.of(batch), states(0).of(batch)
    assert known.borders == fresh.borders
    torch.testing.assert_close(known.states, fresh.states, atol=1e-5, rtol=1e-4)
    assert len(reader._known) <= remembered


def test_a_dropped_prompt_has_its_own_system_prompt() -> None:
    reader = states(10)
    dropped, empty = (reader.of([example("", value)]).states for value in (True, False))
    assert not torch.equal(dropped, empty)
    wanted = ENCODER(ENCODER.tokenizer([drawing("", (), SYSTEM_PROMPT_DROPPED)])).states
    torch.testing.assert_close(dropped, wanted)
    assert states(10, "drop").of([example("", True), example("a red square")]).borders.lengths == (0, 3)


def test_nothing_is_remembered_where_pictures_are_seen() -> None:
    reader = TextStates(ENCODER, HiddenStateBridge(), PromptRules(sees="text_and_images"), 10)
    one, other = (
        Example(
            "edit", "x", "x", "make it red", False, (torch.full((3, 64, 64), level),), torch.zeros(3, 64, 64), None, ""
        )
        for level in (-1.0, 1.0)
    )
    assert not torch.allclose(reader.of([one]).states[-1], reader.of([other]).states[-1])


def test_wrong_numbers() -> None:
    assert isinstance(ENCODER, QwenEncoder)
    with pytest.raises(ValueError, match="remembered must be at least 0, got -1"):
        states(-1)
