"""Importing the room loads no model library."""

import subprocess
import sys

HEAVY = ("transformers", "diffusers", "tokenizers", "torchvision", "lightning", "einops")


def test_importing_is_light() -> None:
    code = "import sys\nimport omnigen2.encoders, omnigen2.pictures, omnigen2.encoders.tiny\n"
    code += f"print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
