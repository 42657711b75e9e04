"""No two streams of random numbers draw the same, and each depends on its seed and indices alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.training.parts import Stream

numbers = st.integers(0, 2**32 - 1)
streams = st.sampled_from(Stream)


def first(stream: Stream, seed: int, indices: tuple[int, ...]) -> tuple[int, ...]:
    """Some numbers of a stream; the kinds draw differently, so that all are compared by their own library's."""
    own = indices[: len(stream.value[2])]
    if stream.value[0] == "numpy":
        return tuple(stream.numpy(seed, *own).integers(2**62, size=3).tolist())
    return tuple(torch.randint(2**62, (3,), generator=stream.torch(seed, *own)).tolist())


@given(streams, streams, numbers, numbers, st.tuples(numbers, numbers, numbers), st.tuples(numbers, numbers, numbers))
def test_streams_are_equal_only_where_all_is_equal(a, b, seed_a, seed_b, at_a, at_b) -> None:
    own_a, own_b = at_a[: len(a.value[2])], at_b[: len(b.value[2])]
    same = (a, seed_a, own_a) == (b, seed_b, own_b)
    assert (first(a, seed_a, at_a) == first(b, seed_b, at_b)) == same
    assert first(a, seed_a, at_a) == first(a, seed_a, at_a)


@given(numbers)
def test_no_stream_at_zero_is_another(seed: int) -> None:
    """numpy takes (s, 3) and (s, 3, 0) for the same, so numbers alone would not tell streams apart."""
    drawn = [first(stream, seed, (0, 0, 0)) for stream in Stream]
    assert len(set(drawn)) == len(drawn)


def test_wrong_indices_are_refused() -> None:
    with pytest.raises(ValueError, match=r"PROMPTS is a stream of numpy with indices \('prompt',\), asked for numpy"):
        Stream.PROMPTS.numpy(0)
    with pytest.raises(ValueError, match="STEP_NOISE is a stream of torch"):
        Stream.STEP_NOISE.numpy(0, 1, 2, 3)
