"""Positions and rotations agree with the official code."""

import pytest
import torch

from omnigen2.layout import ImageSegment, Layout, TextSegment, unpack_padded
from omnigen2.rope import OmniPositions, RotaryEmbedding, apply_rotation
from tests.parity.cases import Case


@pytest.mark.parametrize("name", ["rope_a", "rope_b", "rope_long"])
def test_omni_rope(name: str) -> None:
    case = Case(name)
    h = case.hyperparameters
    plan = []
    for length, references, (height, width) in zip(
        h["text_lengths"], h["ref_latent_sizes_hw"], h["image_latent_sizes_hw"], strict=True
    ):
        images = [ImageSegment(r // 2, c // 2, "reference") for r, c in references or []]
        plan.append((TextSegment(length), *images, ImageSegment(height // 2, width // 2, "target")))
    layout = Layout(tuple(plan))
    assert list(layout.samples.lengths) == h["joint_lengths"]
    real = torch.arange(max(h["joint_lengths"])) < torch.tensor(h["joint_lengths"])[:, None]
    ids = OmniPositions()(layout)
    rotation = RotaryEmbedding(tuple(h["axes_dim"]), h["theta"])(ids)
    turned = apply_rotation(case["inputs.q"][real], rotation)
    for kind, name in (("text", "text"), ("reference", "ref"), ("target", "image")):
        if f"outputs.freqs_{name}.real" in case.tensors:
            part, borders = rotation.take(layout.indices(kind)), layout.per_sample(kind)
            for tensor, side in ((part.cos, "real"), (part.sin, "imag")):
                key = f"outputs.freqs_{name}.{side}"
                expected = case[key]
                padded = unpack_padded(tensor.double(), borders.mask(expected.shape[1]))
                torch.testing.assert_close(
                    padded, expected, rtol=0, atol=2e-6, msg=lambda text, key=key: f"{key}: {text}"
                )
    for tensor, key in (
        (ids.int(), "outputs.position_ids"),
        (rotation.cos.double(), "outputs.freqs_joint.real"),
        (rotation.sin.double(), "outputs.freqs_joint.imag"),
        (turned, "outputs.q_rotated"),
    ):
        filled = case[key].clone()
        filled[real] = tensor
        case.check(filled, key)
