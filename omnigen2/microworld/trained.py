"""The trained micro model that comes with the package."""

import shutil
from pathlib import Path

MICRO_MODEL = Path(__file__).parent / "model"
"""A whole model folder in the released layout, for 64 x 64 pixels: what `recipes/micro/curriculum.yaml` has after
supervised fine-tuning. `README.md` in it says how it was made and what it scores."""


def copy_micro_model(folder: str | Path) -> Path:
    """Copy the micro model, to generate with it or to train on from it.

    Raises:
        FileExistsError: If the folder has files already.
    """
    folder = Path(folder)
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} has files already; name a new or empty folder")
    shutil.copytree(MICRO_MODEL, folder, dirs_exist_ok=True)
    return folder
