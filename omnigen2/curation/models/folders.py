"""Local folders that models are loaded from."""

from pathlib import Path
from typing import Any, ClassVar

from typing_extensions import override

from omnigen2.curation.items import CurationError
from omnigen2.curation.models.protocols import Model


class FolderModel(Model):
    """A model that is loaded from a local folder.

    Attributes:
        file: That every such folder has.
        folder: Where it is; nothing is downloaded.
    """

    file: ClassVar[str] = "config.json"
    folder: str

    @property
    @override
    def name(self) -> str:
        return f"{type(self).__name__} of {Path(self.folder).name}"

    @override
    def check(self) -> None:
        if not (Path(self.folder) / self.file).is_file():
            raise CurationError(
                f"{self.folder} holds no model for {type(self).__name__} (there is no {self.file})",
                "download it first; name its folder",
            )


def load_processor(kind: Any, folder: str) -> Any:
    """A processor of transformers, with all its files.

    Raises:
        CurationError: If one is missing or broken.
    """
    from omnigen2.files import library_errors

    with library_errors(folder, CurationError):
        return kind.from_pretrained(folder, local_files_only=True)
