"""Where a stage gets its language model from."""

import pytest

from omnigen2.training.parts.vlm import VLMFolder, vlm_source


def test_what_an_earlier_stage_has_left_goes_before_the_recipe() -> None:
    named = VLMFolder("named")
    assert vlm_source(named, None, "Module") is named
    found = vlm_source(named, "left", "Module")
    assert isinstance(found, VLMFolder)
    assert found.path == "left"


def test_a_stage_without_either_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Module got neither an encoder nor weights; name a VLMSource as `encoder`"):
        vlm_source(None, None, "Module")
