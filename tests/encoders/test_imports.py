"""Importing the room loads no model library."""

import subprocess
import sys

import pytest

HEAVY = ("transformers", "diffusers", "tokenizers", "torchvision", "lightning", "einops")


@pytest.mark.parametrize("module", ["omnigen2.encoders", "omnigen2.pictures", "omnigen2.encoders.tiny"])
def test_importing_is_light(module: str) -> None:
    code = f"import sys\nimport {module}\nprint([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
