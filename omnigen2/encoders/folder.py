"""Looking into model folders before a library does."""

from pathlib import Path


def check_folder(folder: str | Path, needed: str, local_files_only: bool = True) -> None:
    """Refuse a folder that cannot be a model folder, before anything could look for it on the network.

    Args:
        folder: Path of the folder.
        needed: A file it must have.
        local_files_only: Whether a name that is no folder is an error.

    Raises:
        FileNotFoundError: If the folder or the file is missing.
    """
    path = Path(folder)
    if path.is_dir():
        if not (path / needed).is_file():
            raise FileNotFoundError(f"{path} has no {needed}; expected a model folder written by save_pretrained")
    elif local_files_only:
        raise FileNotFoundError(
            f"there is no folder {path}; give the folder of a downloaded model (nothing is downloaded unless "
            "local_files_only=False)"
        )
