"""Errors on purpose: how often a stand-in is wrong, and in which cases, decided by what it is shown and a seed."""

import hashlib
from collections.abc import Mapping

import numpy as np

from omnigen2.curation import CurationError


def chance(seed: int, *shown: str | bytes) -> np.random.Generator:
    """Random numbers that are the same for what is the same: no order of work and no machine changes them."""
    digest = hashlib.sha256(str(seed).encode())
    for part in shown:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return np.random.default_rng(int.from_bytes(digest.digest()[:8], "big"))


def check_shares(owner: object, shares: Mapping[str, float]) -> None:
    """Refuse what is no share.

    Raises:
        CurationError: If one is not from 0 to 1.
    """
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise CurationError(f"{type(owner).__name__} has {name} {share}", "give a share from 0 to 1")
