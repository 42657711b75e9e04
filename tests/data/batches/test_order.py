"""The order of an epoch: every sample once, in any number of parts; few chunks at a time, and well mixed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.data.batches.order import LEAST_WINDOW, EpochOrder, order_key
from omnigen2.data.samples import Chunks

lengths = st.lists(st.integers(0, 9), min_size=1, max_size=40).filter(any).map(np.array)


def numbers(order: EpochOrder, start: int = 0, stop: int | None = None) -> list[int]:
    found: list[int] = []
    stop = len(order) if stop is None else stop
    while start < stop:
        group = order.group(start)
        assert group.start <= start < group.stop
        found += group.numbers[start - group.start : stop - group.start].tolist()
        start = group.stop
    return found


@given(lengths=lengths, window=st.integers(1, 50), parts=st.integers(1, 60), seed=st.integers(0, 9))
def test_an_order_is_a_permutation_whatever_the_chunks_and_parts(lengths, window, parts, seed) -> None:
    order = EpochOrder(Chunks(lengths, window), parts, (seed,))
    assert sorted(numbers(order)) == list(range(lengths.sum()))
    borders = [order.part(part) for part in range(parts)]
    assert [start for start, _ in borders[1:]] + [len(order)] == [stop for _, stop in borders]
    assert [n for border in borders for n in numbers(order, *border)] == numbers(order)


@given(lengths=lengths, window=st.integers(1, 20), parts=st.integers(1, 4))
def test_a_group_names_the_chunks_of_its_samples_and_has_about_the_window(lengths, window, parts) -> None:
    order = EpochOrder(Chunks(lengths, window), parts, (0,))
    owner = np.repeat(np.arange(len(lengths)), lengths)
    place = 0
    while place < len(order):
        group = order.group(place)
        assert set(owner[group.numbers]) == set(group.chunks.tolist())
        place = group.stop
    same = EpochOrder(Chunks(np.full(200, 5), window), parts, (0,))
    most = max(-(-window // parts), min(window, LEAST_WINDOW))
    assert all(len(same.group(place).chunks) <= most + 2 for place in range(0, len(same), 20))


@pytest.mark.parametrize(("window", "parts"), [(16, 1), (16, 8), (128, 1), (128, 8)])
def test_neighbours_are_mixed_as_well_as_the_window_lets_them(window: int, parts: int) -> None:
    # samples of a group vary about its w chunks, which are random: neighbours correlate by about 1 / w
    order = EpochOrder(Chunks(np.full(2000, 20), window), parts, (1,))
    found = np.array(numbers(order))
    assert abs(np.corrcoef(found[:-1], found[1:])[0, 1] - 1 / max(window // parts, LEAST_WINDOW)) < 0.05


def test_what_ranks_draw_at_the_same_time_does_not_correlate() -> None:
    order = EpochOrder(Chunks(np.full(2000, 20), 64), 8, (1,))
    steps = np.array([numbers(order, *order.part(part)) for part in range(8)])
    assert abs(np.corrcoef(steps[:-1].ravel(), steps[1:].ravel())[0, 1]) < 0.05


def test_all_places_are_equally_likely() -> None:
    # chi-square with 39 degrees of freedom: above 85 with probability 3e-5; the keys are fixed
    counts = np.zeros((3, 40))
    for key in range(2000):
        order = EpochOrder(Chunks(np.full(8, 5), 3), 2, (key,))
        for row, place in enumerate((0, 19, 39)):
            group = order.group(place)
            counts[row, group.numbers[place - group.start]] += 1
    assert (((counts - 50) ** 2 / 50).sum(1) < 85).all()


def test_the_key_tells_sources_epochs_and_seeds_apart() -> None:
    keys = {order_key(seed, name, epoch) for seed in range(3) for name in "ab" for epoch in range(3)}
    assert len(keys) == 18
