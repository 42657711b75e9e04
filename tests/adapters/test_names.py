"""What the names of an adapter's tensors say, in every dialect."""

import pytest

from omnigen2.adapters.names import Part, part_of
from omnigen2.errors import UserError

LAYER = "layers.3.attn.to_q"


@pytest.mark.parametrize("wrapper", ["", "base_model.model.", "diffusion_model.", "transformer."])
@pytest.mark.parametrize(
    ("end", "half"),
    [
        ("lora_A.weight", "down"),
        ("lora_B.weight", "up"),
        ("lora_down.weight", "down"),
        ("lora_up.weight", "up"),
        ("alpha", "alpha"),
    ],
)
def test_a_name_says_its_layer_and_half_whatever_is_around_it(wrapper: str, end: str, half: str) -> None:
    found = part_of(f"{wrapper}{LAYER}.{end}", "file")
    assert (found.layer, found.half, found.underscored) == (LAYER, half, False)


def test_dots_may_have_become_underscores() -> None:
    found = part_of("lora_unet_layers_3_attn_to_q.lora_down.weight", "file")
    assert isinstance(found, Part)
    assert (found.underscored, found.half) == (True, "down")


@pytest.mark.parametrize("key", ["lora_te_text_model_x.lora_down.weight", "text_encoder.layers.0.lora_A.weight"])
def test_the_text_encoder_is_refused(key: str) -> None:
    with pytest.raises(UserError, match=r"file has the key .*, of the text encoder"):
        part_of(key, "file")


@pytest.mark.parametrize(("key", "kind"), [(f"{LAYER}.lokr_w1", "LoKr"), (f"{LAYER}.hada_w1_a", "LoHa")])
def test_other_kinds_are_refused_by_name(key: str, kind: str) -> None:
    with pytest.raises(UserError, match=rf"file is a {kind} adapter, it has the key {key}"):
        part_of(key, "file")
