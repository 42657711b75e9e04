"""What a configuration of a VAE says is understood, or refused by its key."""

import json
from pathlib import Path

import pytest

from omnigen2.encoders.configs import check_vae_config
from omnigen2.errors import UserError

FLUX = {"_class_name": "AutoencoderKL", "scaling_factor": 0.3611, "shift_factor": 0.1159, "block_out_channels": [4, 8]}


def write(folder: Path, **changes: object) -> Path:
    (folder / "config.json").write_text(json.dumps(FLUX | changes))
    return folder


def test_the_released_one_is_understood(tmp_path: Path) -> None:
    check_vae_config(write(tmp_path))
    check_vae_config(write(tmp_path, latents_mean=None, in_channels=3))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scaling_factor", 0), ("scaling_factor", -0.3), ("scaling_factor", "1"), ("shift_factor", "0"),
        ("_class_name", "AutoencoderTiny"), ("latents_std", [1.0]), ("in_channels", 4), ("block_out_channels", [4, 0]),
        ("unheard_of", 1),
    ],
)  # fmt: skip
def test_another_one_is_refused_by_its_key(key: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=key):
        check_vae_config(write(tmp_path, **{key: value}))
