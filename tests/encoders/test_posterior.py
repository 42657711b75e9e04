"""A codec's distribution: drawing from it later is encoding, and its maker can be told from others."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.encoders import BlockDCT, FluxVAE, LatentCodec
from omnigen2.encoders.posterior import draw, identity, moments
from omnigen2.encoders.tiny import write_tiny_vae
from tests.encoders.test_vae import images, seeded

sides = st.integers(1, 3).map(lambda n: 16 * n)


@given(height=sides, width=sides, seed=st.none() | st.integers(0, 99), dct=st.booleans())
def test_drawing_from_moments_is_encoding(vae: FluxVAE, height: int, width: int, seed: int | None, dct: bool) -> None:
    codec: LatentCodec = BlockDCT(4) if dct else vae
    batch = images((height, width), (16, 16))
    one, other = (None, None) if seed is None else (seeded(seed)[0], seeded(seed)[0])
    drawn = [draw(each, one) for each in moments(codec, batch)]
    encoded = codec.encode(batch, "mode" if other is None else "sample", None if other is None else [other] * 2)
    for mine, wanted in zip(drawn, encoded, strict=True):
        torch.testing.assert_close(mine, wanted, atol=1e-6, rtol=1e-5)
    if one is not None and other is not None:  # what follows in the training is drawn alike
        assert torch.equal(one.get_state(), other.get_state())


def test_means_are_exact_and_a_codec_without_spread_has_means_only(vae: FluxVAE) -> None:
    (image,) = images((32, 16))
    for codec, count in ((vae, 2), (BlockDCT(4), 1)):
        (found,) = moments(codec, [image])
        assert len(found) == count
        assert torch.equal(draw(found, None), codec.encode([image], "mode")[0])
    assert moments(vae, []) == []


def test_wrong_sides_and_other_codecs_are_refused(vae: FluxVAE) -> None:
    with pytest.raises(ValueError, match="height 24 and width 16 pixels; both must be multiples of 16"):
        moments(vae, [torch.zeros(3, 24, 16)])

    class Other(BlockDCT.__base__):  # pyright: ignore
        def encode(self, images: Any, posterior: Any = "sample", generators: Any = None) -> Any: ...
        def decode(self, latents: Any) -> Any: ...

    with pytest.raises(ValueError, match="a Other has no known distribution; use a FluxVAE or a BlockDCT"):
        moments(Other(), [])
    with pytest.raises(ValueError, match="a Other has no known identity"):
        identity(Other())


def test_equal_codecs_have_one_identity_and_others_another(folder: Path, tmp_path: Path, vae: FluxVAE) -> None:
    def load(path: Path = folder / "vae", **more: Any) -> FluxVAE:
        return FluxVAE.from_folder(path, **more)

    assert identity(load(memory="together")) == identity(load(memory="one_by_one")) == identity(vae)
    write_tiny_vae(tmp_path / "seed", seed=1)
    write_tiny_vae(tmp_path / "config")
    config = json.loads((tmp_path / "config" / "config.json").read_text())
    (tmp_path / "config" / "config.json").write_text(json.dumps(config | {"shift_factor": 0.5}))
    nudged = load()
    last = list(cast(Any, nudged.vae).encoder.parameters())[-1]
    last.data[0] += 1e-6
    others = [load(tmp_path / "seed"), load(tmp_path / "config"), load(dtype=torch.bfloat16), load(memory="tiled")]
    codecs = [vae, *others, nudged, BlockDCT(4), BlockDCT(2), BlockDCT(4, 1.0)]
    assert len({identity(codec) for codec in codecs}) == len(codecs)
    assert identity(BlockDCT(4)) == identity(BlockDCT(4))
    assert identity(vae).startswith("FluxVAE sha256:")
