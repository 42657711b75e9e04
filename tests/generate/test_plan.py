"""Sizes of pictures: those that the official pipeline gives in the end, without its resizing."""

from typing import Any

import pytest
from PIL import Image

from omnigen2.generate import GenerateError, Request
from omnigen2.generate.plan import Planner
from tests.encoders.conftest import parity

CASES: list[dict[str, Any]] = parity("image_preprocess")["values"]["output_sizes"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['requested_w']}x{case['requested_h']}")
def test_final_sizes_are_those_of_the_official_pipeline(case: dict[str, Any]) -> None:
    """It draws a multiple of 16 within its limit, and resizes the picture; we draw what is asked for, or refuse.

    With one reference it takes the reference's size, whatever is asked for; we do where nothing is asked for.
    """
    plan, final = Planner(multiple=16, max_references=5), (case["final_h"], case["final_w"])
    if case["first_ref_latent_hw"] is not None:
        height, width = (8 * side for side in case["first_ref_latent_hw"])
        request = Request(prompt="x", images=(Image.new("RGB", (width, height)),))
        assert plan(request).size == final
        return
    images = tuple(Image.new("RGB", (32, 32)) for _ in range(case["num_input_images"]))
    request = Request(prompt="x", images=images, height=case["requested_h"], width=case["requested_w"])
    if final[0] % 16 or final[1] % 16:
        with pytest.raises(GenerateError, match="must be a positive multiple of 16"):
            plan(request)
    else:
        assert plan(request).size == final
