"""Sizes and pixels: parity with the released rule, and where it breaks."""

from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file

from omnigen2.pictures import ResizePolicy, to_pixels
from tests.encoders.conftest import PARITY, parity

CASE = parity("image_preprocess")
sides = st.integers(1, 20_000)
policies = st.builds(
    ResizePolicy,
    max_pixels=st.integers(256, 5_000_000),
    max_side=st.one_of(st.none(), st.integers(16, 4096)),
    multiple=st.sampled_from((1, 8, 16)),
)


@pytest.mark.parametrize("case", [c for c in CASE["values"]["sizes"] if min(c["out_w"], c["out_h"]) > 0])
def test_sizes_are_those_of_the_released_rule(case: dict[str, int]) -> None:
    policy = ResizePolicy(max_pixels=case["max_pixels"], max_side=case["max_side_length"])
    assert policy.size(case["h"], case["w"]) == (case["out_h"], case["out_w"])


@pytest.mark.parametrize("case", [c for c in CASE["values"]["sizes"] if min(c["out_w"], c["out_h"]) == 0])
def test_where_the_released_rule_gives_nothing_a_side_keeps_one_patch(case: dict[str, int]) -> None:
    policy = ResizePolicy(max_pixels=case["max_pixels"], max_side=case["max_side_length"])
    assert policy.size(case["h"], case["w"]) == (max(case["out_h"], 16), max(case["out_w"], 16))


@pytest.mark.parametrize("case", [c for c in CASE["values"]["output_sizes"] if c["first_ref_latent_hw"] is None])
def test_target_sizes_are_those_of_the_released_rule(case: dict[str, Any]) -> None:
    policy = ResizePolicy(max_pixels=case["max_pixels"], max_side=None)
    assert policy.size(case["requested_h"], case["requested_w"]) == (case["generated_h"], case["generated_w"])


@given(policies, sides, sides)
@example(ResizePolicy(), 20_000, 1)
@example(ResizePolicy(max_pixels=256), 20_000, 1)
def test_sizes_keep_every_limit(policy: ResizePolicy, height: int, width: int) -> None:
    tall, wide = policy.size(height, width)
    assert tall % policy.multiple == wide % policy.multiple == 0
    assert min(tall, wide) >= policy.multiple
    assert tall * wide <= policy.max_pixels
    assert policy.max_side is None or max(tall, wide) <= policy.max_side
    assert tall <= max(height, policy.multiple)
    assert wide <= max(width, policy.multiple)


@given(policies, sides, sides)
def test_a_size_that_fits_stays(policy: ResizePolicy, height: int, width: int) -> None:
    size = policy.size(height, width)
    assert policy.size(*size) == size


@given(policies, sides, sides)
def test_turned_images_get_turned_sizes(policy: ResizePolicy, height: int, width: int) -> None:
    assert policy.size(width, height) == policy.size(height, width)[::-1]


@pytest.mark.parametrize("run", [0, 1])
def test_pixels_are_those_of_the_released_code(run: int) -> None:
    tensors = load_file(PARITY / CASE["file"])
    limits = CASE["hyperparameters"]["pixel_runs"][run]
    policy = ResizePolicy(max_pixels=limits["max_pixels"], max_side=limits["max_side_length"])
    image = Image.fromarray(tensors[f"inputs.image.{run}"].numpy())
    expected = tensors[f"outputs.pixels.{run}"][0]
    torch.testing.assert_close(to_pixels(policy.resize(image)), expected, **CASE["tolerance"])


@pytest.mark.parametrize(("references", "side"), [(1, 1024), (2, 1024), (3, 768), (4, 512), (5, 512), (9, 512)])
def test_more_references_are_smaller(references: int, side: int) -> None:
    """The official loader takes the limit by how many there are, and fails for a fifth."""
    assert ResizePolicy().reference_size(4000, 4000, references) == (side, side)
    images = [Image.new("RGB", (1100, 1100))] * references
    assert {image.size for image in ResizePolicy().resize_references(images)} == {(side, side)}


def test_an_image_that_fits_is_not_touched() -> None:
    image = Image.new("RGB", (32, 16))
    assert ResizePolicy().resize(image) is image


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_pixels": 255}, "255 pixels leaves no room for one 16x16 patch; use at least 256"),
        ({"reference_pixels": (1024, 9)}, "limit of 9 pixels"),
        ({"reference_pixels": ()}, "reference_pixels is empty"),
        ({"max_side": 15}, "max_side 15 is below the multiple 16"),
        ({"multiple": 0}, "multiple must be at least 1 pixel, got 0"),
    ],
)
def test_policies_without_room_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ResizePolicy(**settings)


def test_sizes_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="got height 0 and width 5"):
        ResizePolicy().size(0, 5)
    with pytest.raises(ValueError, match="got references=0"):
        ResizePolicy().reference_size(5, 5, references=0)
