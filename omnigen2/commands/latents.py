"""Latents that are computed before training: the options of `omnigen2 data optimize`, and what they make."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from omnigen2.commands.model import device_of
from omnigen2.commands.parser import Parser
from omnigen2.data.samples import LATENT_TYPES, DataError, ImageEncoder, LatentOrigin, LatentType, Moments, Pixels
from omnigen2.encoders import LatentCodec, identity, load_codec, moments
from omnigen2.pictures import ResizePolicy

NEEDS_VAE = ("max_pixels", "max_side", "multiple", "reference_pixels", "latent_type")


class CodecLatents(ImageEncoder):
    """Latents of a codec: mean and standard deviation, so that a training can draw from them.

    Args:
        codec: Where it is, it works; one image at a time.
        resize: The sizes that images get.
        stored_as: How numbers are stored.
    """

    def __init__(self, codec: LatentCodec, resize: ResizePolicy, stored_as: LatentType) -> None:
        self.codec = codec
        self.origin = LatentOrigin(identity(codec), resize, stored_as)
        self._lock = Lock()

    def moments(self, images: Sequence[Pixels]) -> list[Moments]:
        """Encode images, while other threads wait: one at a time is what fits the memory."""
        with self._lock:
            return moments(self.codec, images)


def add_latent_options(parser: Parser) -> None:
    """Add the options that `latents_of` reads.

    Args:
        parser: The command's.
    """
    policy = ResizePolicy()
    own = ",".join(map(str, policy.reference_pixels))
    parser.option("--vae", type=Path, metavar="DIR", help="store latents of this codec too, such as MODEL/vae")
    parser.option("--max_pixels", type=int, metavar="N", help=f"with --vae: of a target (default {policy.max_pixels})")
    parser.option("--max_side", type=int, metavar="N", help=f"with --vae: longest side (default {policy.max_side})")
    parser.option("--multiple", type=int, metavar="N", help=f"with --vae: of all sides (default {policy.multiple})")
    parser.option("--reference_pixels", type=_numbers, metavar="N,…", help=f"with --vae: by number (default {own})")
    parser.option("--latent_type", choices=LATENT_TYPES, help="with --vae: how latents are stored (default float16)")


def latents_of(options: argparse.Namespace) -> CodecLatents | None:
    """What the options ask for.

    Args:
        options: Of a parser with `add_latent_options` and `--device`.

    Returns:
        None without `--vae`.

    Raises:
        DataError: If an option needs `--vae` and it is not there.
    """
    given: dict[str, Any] = {name: value for name in NEEDS_VAE if (value := getattr(options, name)) is not None}
    if options.vae is None:
        if given:
            raise DataError(f"--{next(iter(given))} is for latents; name their codec with --vae, or leave it out")
        return None
    stored_as: LatentType = given.pop("latent_type", "float16")
    # float32, as trainings load their codec
    return CodecLatents(load_codec(options.vae, device=device_of(options)), ResizePolicy(**given), stored_as)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}, expected numbers such as 1048576,589824") from error
