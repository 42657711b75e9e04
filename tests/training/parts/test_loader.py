"""The law of `StepLoader`: stopping anywhere and going on changes nothing."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.training.parts import StepLoader


@given(steps=st.integers(1, 7), stop=st.integers(0, 20))
def test_a_restored_loader_goes_on_where_the_first_one_stopped(steps: int, stop: int) -> None:
    def epochs(loader: StepLoader[int]):
        while True:
            yield from loader

    whole = list(islice(epochs(StepLoader(lambda step: step * step, steps)), 25))
    first = StepLoader(lambda step: step * step, steps)
    head = list(islice(epochs(first), stop))
    second = StepLoader(lambda step: step * step, steps)
    second.load_state_dict(first.state_dict())
    assert head + list(islice(epochs(second), 25 - stop)) == whole


def test_every_epoch_is_the_same_also_after_one_that_was_left() -> None:
    loader = StepLoader(lambda step: step, 3)
    assert len(loader) == 3
    next(iter(loader))  # Lightning's sanity check takes a few batches of the validation loader and leaves
    assert list(loader) == list(loader) == [0, 1, 2]


def test_an_iterator_that_is_never_used_does_not_eat_the_restored_position() -> None:
    loader = StepLoader(lambda step: step, 3)
    loader.load_state_dict({"step": 1})
    iter(loader)
    assert list(loader) == [1, 2]
    assert list(loader) == [0, 1, 2]


def test_no_steps_and_positions_outside_of_the_epoch_are_refused() -> None:
    for steps in (0, -1):
        with pytest.raises(ValueError, match=f"at least 1, got {steps}"):
            StepLoader(lambda step: step, steps)
    for step in (-2, 4):
        with pytest.raises(ValueError, match=f"at step {step}, but this loader has 3 steps"):
            StepLoader(lambda step: step, 3).load_state_dict({"step": step})
