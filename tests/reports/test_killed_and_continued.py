"""A run was killed and went on, and from the step at which a caption came again its losses were others."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.data import Example
from omnigen2.encoders import HiddenStateBridge
from omnigen2.microworld.runs import RandomMicroVLM
from omnigen2.training.flow_matching import TextStates

ENCODER = RandomMicroVLM().load(HiddenStateBridge())
TEXTS = st.tuples(
    st.sampled_from(("a red square", "two blue crosses", "a green triangle left of a red cross", "")), st.booleans()
)


def example(text: str, dropped: bool) -> Example:
    return Example("text_to_image", "x", "x", text, dropped, (), torch.zeros(3, 4, 4), None, "")


@settings(max_examples=30, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=6), st.lists(TEXTS, min_size=1, max_size=6))
def test_what_a_run_remembers_moves_no_bit_of_what_it_trains_on(
    batch: list[tuple[str, bool]], before: list[tuple[str, bool]]
) -> None:
    running, restarted = TextStates(ENCODER, 10), TextStates(ENCODER, 10)
    running.of([example(*text) for text in before])
    examples = [example(*text) for text in batch]
    assert torch.equal(running.of(examples).states, restarted.of(examples).states)
