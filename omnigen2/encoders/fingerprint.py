"""What a frozen network computes, as a number that can be compared."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def fingerprint(facts: Mapping[str, Any], network: nn.Module) -> str:
    """A number that is the same for networks that compute the same, and for no others.

    Args:
        facts: What the weights do not tell, as JSON can hold it; keys are compared in any order.
        network: On any device.

    Returns:
        `sha256:` and the digest of the facts and of the names, types, shapes and values of the weights.
    """
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, weight in sorted(network.state_dict().items()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return f"sha256:{digest.hexdigest()}"
