"""Levels and floats, and the one place where one becomes the other."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnigen2.pictures import from_png, to_image, to_levels, to_pixels, to_png
from tests.paths import ROOT


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**31))
def test_pixels_and_images_are_inverse(height: int, width: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels = to_pixels(Image.fromarray(values))
    assert pixels.shape == (3, height, width)
    assert np.array_equal(np.asarray(to_image(pixels)), values)
    assert torch.equal(from_png(to_png(pixels), 36), pixels)


def test_every_level_survives_and_the_range_is_closed() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    pixels = to_pixels(Image.fromarray(levels))
    assert (pixels.min(), pixels.max()) == (-1, 1)
    assert torch.equal(pixels[0].flatten(), torch.arange(256).float() / 255 * 2 - 1)  # bit for bit, as it was written
    assert np.array_equal(to_levels(pixels), levels)


@given(st.floats(width=32, allow_nan=False))
def test_a_level_is_the_nearest_and_what_is_outside_is_clamped(value: float) -> None:
    [level] = to_levels(torch.full((3, 1, 1), value, dtype=torch.float32)).unique().tolist()
    distances = (torch.arange(256) / 127.5 - 1 - max(min(value, 1.0), -1.0)).abs()
    assert distances[level] <= distances.min() + 1e-6


def test_pixels_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="mode L, expected RGB; use ImageReader"):
        to_pixels(Image.new("L", (2, 2)))
    with pytest.raises(ValueError, match="not numbers"):
        to_image(torch.full((3, 1, 1), torch.nan))


def test_floats_become_levels_in_one_place() -> None:
    """Elsewhere `to_levels`, `to_image` and `to_pixels` are used, so that all round alike."""
    # levels of more bits, alpha, detections, masks, colours of pages, and differences of levels: no pixels in [-1, 1]
    masks = {
        "curation/article.py", "curation/models/flux_fill.py", "curation/pairs/distance.py", "curation/steps/masks.py",
        "pictures/deep.py", "pictures/files.py", "rl/rewards/geneval_models.py",
    }  # fmt: skip
    wanted = re.compile(r"127\.5|[*/] ?255\b|/ ?2 ?\+ ?0?\.5\)\.clamp")
    found = {
        path.relative_to(ROOT / "omnigen2").as_posix()
        for path in Path(ROOT / "omnigen2").rglob("*.py")
        if wanted.search(path.read_text(encoding="utf-8"))
    }
    assert found - masks == {"pictures/pixels.py"}
