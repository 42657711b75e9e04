"""PNG files on the wire: what is damaged is refused, and nothing else is changed than the size."""

import zlib
from contextlib import suppress

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.pictures import ImageFileError, from_base64, from_png, shrink, to_png

PICTURE = torch.full((3, 4, 4), 1 / 255)


@given(st.binary(max_size=40), st.integers(0, 10_000), st.integers(0, 255))
def test_damaged_pictures_are_refused_or_read(junk: bytes, place: int, byte: int) -> None:
    png = to_png(PICTURE)
    place %= len(png)
    for data in (junk, png[:place], png[:place] + bytes([byte]) + png[place + 1 :], png[:place] + junk + png[place:]):
        with suppress(ImageFileError):
            assert from_png(data, 1000).shape[0] == 3


def test_a_chunk_that_is_too_short_is_refused() -> None:
    png = to_png(PICTURE)
    head = png[:8] + (4).to_bytes(4) + b"IHDR" + png[16:20]
    broken = head + zlib.crc32(head[12:]).to_bytes(4) + png[33:]
    with pytest.raises(ImageFileError, match="no PNG file that can be read"):
        from_png(broken, 1000)


def test_what_is_no_base64_is_refused() -> None:
    with pytest.raises(ImageFileError, match="no base64"):
        from_base64("a b")


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40))
def test_shrinking_keeps_proportions_and_the_limit(height: int, width: int, longest: int) -> None:
    found = shrink(torch.zeros(3, height, width), longest).shape[1:]
    assert max(found) == min(longest, max(height, width))
    scale = max(found) / max(height, width)
    assert abs(found[0] - max(1, height * scale)) <= 0.5
    assert abs(found[1] - max(1, width * scale)) <= 0.5
