from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.rl import RandomSteps, RandomWindow, SlidingWindow, StepSelection

SELECTIONS: list[StepSelection] = [
    RandomSteps(),
    RandomSteps(0.3, skip_first=3, skip_last=1),
    SlidingWindow(),
    SlidingWindow(3, stride=2, hold=2, skip_first=2, skip_last=1),
    RandomWindow(),
    RandomWindow(3, skip_first=2, skip_last=1, seed=1),
]


@pytest.mark.parametrize("selection", SELECTIONS, ids=repr)
@given(steps=st.integers(8, 40), iteration=st.integers(0, 300))
def test_trained_steps_are_stochastic_steps_of_the_grid(selection: StepSelection, steps: int, iteration: int) -> None:
    chosen = selection(steps, iteration)
    assert chosen.trained
    assert list(chosen.trained) == sorted(set(chosen.trained) & set(chosen.stochastic))
    assert chosen.stochastic.start >= 0
    assert chosen.stochastic.stop <= steps
    assert selection(steps, iteration) == chosen


@pytest.mark.parametrize("selection", SELECTIONS, ids=repr)
def test_every_step_that_may_be_trained_is(selection: StepSelection) -> None:
    assert isinstance(selection, RandomSteps | RandomWindow | SlidingWindow)
    visited = {step for iteration in range(600) for step in selection(20, iteration).trained}
    assert visited == set(range(selection.skip_first, 20 - selection.skip_last))


@given(share=st.floats(0.01, 1), steps=st.integers(1, 30))
def test_share_of_steps_is_rounded_up(share: float, steps: int) -> None:
    trained = RandomSteps(share)(steps, 0).trained
    assert len(trained) - 1 < share * steps <= len(trained)


def test_the_official_configuration() -> None:
    chosen = RandomSteps()(20, 3)
    assert chosen.stochastic == range(20)
    assert len(chosen.trained) == 12
    assert len({RandomSteps(seed=seed)(20, iteration).trained for seed in (0, 1) for iteration in (0, 1)}) == 4


def test_the_window_slides_and_starts_over() -> None:
    window = SlidingWindow(length=4, stride=3, hold=2)
    starts = [window(10, iteration).stochastic.start for iteration in range(10)]
    assert starts == [0, 0, 3, 3, 6, 6, 0, 0, 3, 3]
    assert window(10, 2).trained == (3, 4, 5, 6)
    assert [SlidingWindow(4, 4, 1)(10, i).stochastic.start for i in range(4)] == [0, 4, 6, 0]


def test_a_random_window_trains_all_its_steps_and_every_place_is_as_likely() -> None:
    window = RandomWindow(2, skip_first=1, skip_last=4)
    chosen = [window(10, iteration) for iteration in range(400)]
    assert all(steps.trained == tuple(steps.stochastic) and len(steps.trained) == 2 for steps in chosen)
    counts = Counter(steps.stochastic.start for steps in chosen)
    assert set(counts) == {1, 2, 3, 4}
    assert all(60 < count < 140 for count in counts.values())
    assert [window(10, i) for i in range(20)] != [RandomWindow(2, 1, 4, seed=1)(10, i) for i in range(20)]


def test_wrong_inputs_are_refused() -> None:
    with pytest.raises(ValueError, match="RandomWindow needs length of at least 1, got 0"):
        RandomWindow(0)
    with pytest.raises(ValueError, match="a window of 2 steps does not fit into a grid of 4 without its first 0 and"):
        RandomWindow(2, skip_last=3)(4, 0)
    with pytest.raises(ValueError, match=r"RandomSteps needs a share of the steps in \(0, 1\], got 0\.0"):
        RandomSteps(0.0)
    with pytest.raises(ValueError, match="RandomSteps needs skip_first of at least 0, got -1"):
        RandomSteps(skip_first=-1)
    with pytest.raises(ValueError, match=r"12 of 20 steps are to be trained .* only 10 are stochastic"):
        RandomSteps(0.6, skip_first=10)(20, 0)
    with pytest.raises(ValueError, match="SlidingWindow needs hold of at least 1, got 0"):
        SlidingWindow(hold=0)
    with pytest.raises(
        ValueError, match="a window of 4 steps does not fit into a grid of 5 without its first 1 and last 1"
    ):
        SlidingWindow(skip_first=1, skip_last=1)(5, 0)
