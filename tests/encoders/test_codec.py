"""What every codec does: drawing from its moments later is encoding, and it can be told from other codecs."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.encoders import BlockDCT, CodecSize, FluxVAE, LatentCodec, codec_class, draw, load_codec
from omnigen2.encoders.tiny import write_tiny_vae
from tests.encoders.test_vae import images, seeded

sides = st.integers(1, 3).map(lambda n: 16 * n)


@given(height=sides, width=sides, seed=st.none() | st.integers(0, 99), dct=st.booleans())
def test_drawing_from_moments_is_encoding(vae: FluxVAE, height: int, width: int, seed: int | None, dct: bool) -> None:
    codec: LatentCodec = BlockDCT(4) if dct else vae
    batch = images((height, width), (16, 16))
    one, other = (None, None) if seed is None else (seeded(seed)[0], seeded(seed)[0])
    drawn = [draw(each, one) for each in codec.moments(batch)]
    encoded = codec.encode(batch, "mode" if other is None else "sample", None if other is None else [other] * 2)
    for mine, wanted in zip(drawn, encoded, strict=True):
        torch.testing.assert_close(mine, wanted, atol=1e-6, rtol=1e-5)
    if one is not None and other is not None:  # what follows in the training is drawn alike
        assert torch.equal(one.get_state(), other.get_state())


def test_means_are_exact_and_a_codec_without_spread_has_means_only(vae: FluxVAE) -> None:
    (image,) = images((32, 16))
    for codec, count in ((vae, 2), (BlockDCT(4), 1)):
        (found,) = codec.moments([image])
        assert len(found) == count
        assert torch.equal(draw(found, None), codec.encode([image], "mode")[0])
    assert vae.moments([]) == []


def test_wrong_sides_are_refused(vae: FluxVAE) -> None:
    with pytest.raises(ValueError, match="height 24 and width 16 pixels; both must be multiples of 16"):
        vae.moments([torch.zeros(3, 24, 16)])
    with pytest.raises(ValueError, match="height 6 and width 8 pixels; both must be multiples of 4"):
        BlockDCT(4).moments([torch.zeros(3, 6, 8)])


def test_sizes_are_told_without_weights(folder: Path, tmp_path: Path, vae: FluxVAE) -> None:
    BlockDCT(4).save(tmp_path)
    for directory, codec, widest in ((folder / "vae", vae, 8), (tmp_path, BlockDCT(4), 3)):
        config = json.loads((directory / "config.json").read_text())
        assert codec_class(config) is type(codec)
        size = codec_class(config).size(config)
        assert size == CodecSize(codec.reduction, widest, weights=bool(list(codec.parameters())))
    with pytest.raises(ValueError, match="it has no block_out_channels"):
        FluxVAE.size({})


def test_a_saved_autoencoder_is_loaded_as_it_was(vae: FluxVAE, tmp_path: Path) -> None:
    vae.save(tmp_path)
    assert load_codec(tmp_path).identity() == vae.identity()


def test_equal_codecs_have_one_identity_and_others_another(folder: Path, tmp_path: Path, vae: FluxVAE) -> None:
    def load(path: Path = folder / "vae", **more: Any) -> FluxVAE:
        return FluxVAE.from_folder(path, **more)

    assert load(memory="together").identity() == load(memory="one_by_one").identity() == vae.identity()
    write_tiny_vae(tmp_path / "seed", seed=1)
    write_tiny_vae(tmp_path / "config")
    config = json.loads((tmp_path / "config" / "config.json").read_text())
    (tmp_path / "config" / "config.json").write_text(json.dumps(config | {"shift_factor": 0.5}))
    nudged = load()
    last = list(cast(Any, nudged.vae).encoder.parameters())[-1]
    last.data[0] += 1e-6
    others = [load(tmp_path / "seed"), load(tmp_path / "config"), load(dtype=torch.bfloat16), load(memory="tiled")]
    codecs = [vae, *others, nudged, BlockDCT(4), BlockDCT(2), BlockDCT(4, 1.0)]
    assert len({codec.identity() for codec in codecs}) == len(codecs)
    assert BlockDCT(4).identity() == BlockDCT(4).identity()
    assert vae.identity().startswith("FluxVAE sha256:")
