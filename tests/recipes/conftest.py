"""What tests of recipes share: the released model without weights."""

import json
from pathlib import Path

import pytest
import torch

from omnigen2.dit.released import released_config
from omnigen2.dit.variants import omnigen2_4b


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the meta device needs of the released transformer."""
    folder = tmp_path_factory.mktemp("released")
    (folder / "transformer").mkdir()
    with torch.device("meta"):
        (folder / "transformer/config.json").write_text(json.dumps(released_config(omnigen2_4b())))
    return folder
