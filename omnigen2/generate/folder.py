"""Model folders in the released layout."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from omnigen2.encoders import HiddenStateBridge, KeptTemplate, KeptTokens
from omnigen2.flow import IdentityShift, SquareRootShift, TimeShift
from omnigen2.generate.errors import GenerateError

PARTS = ("transformer", "vae", "mllm", "processor", "scheduler")
INDEX = "model_index.json"
LATENT_SIDE = 40
"""Side of the square picture that the official sampler does not shift, in latent pixels (320 pixels)."""


@dataclass(frozen=True)
class ModelFolder:
    """A folder with the five parts of a model, checked.

    Attributes:
        path: The folder.

    Raises:
        GenerateError: If the folder or one of its parts is missing.
    """

    path: Path

    def __post_init__(self) -> None:
        expected = f"a model folder has {', '.join(f'{part}/' for part in PARTS)}"
        if not self.path.is_dir():
            what = "is a file, not a folder" if self.path.exists() else "does not exist"
            raise GenerateError(
                f"the model folder {self.path} {what}", f"{expected}; `omnigen2 make-tiny DIR` writes a small one"
            )
        missing = [f"{part}/" for part in PARTS if not (self.path / part).is_dir()]
        if missing:
            raise GenerateError(
                f"the model folder {self.path} has no {', '.join(missing)}", f"{expected}; is the download complete?"
            )

    def part(self, name: str) -> Path:
        """The subfolder of a part."""
        return self.path / name

    def config(self, part: str, name: str = "config.json") -> dict[str, Any]:
        """The configuration of a part, from a file in its subfolder.

        Raises:
            GenerateError: If the file is missing or no JSON object.
        """
        path = self.part(part) / name
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError as error:
            raise GenerateError(f"{path} is missing", "is the download complete?") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise GenerateError(f"{path} is not JSON: {error}", "download the file again") from error
        if not isinstance(content, dict):
            raise GenerateError(f"{path} holds a {type(content).__name__}", "a configuration is a JSON object")
        return cast(dict[str, Any], content)

    def shift(self, patch_size: int) -> TimeShift:
        """The time shift that the scheduler's configuration asks for: none if `dynamic_time_shift` is false.

        Args:
            patch_size: The transformer's.

        Raises:
            GenerateError: If it is neither true nor false.
        """
        dynamic = self.config("scheduler", "scheduler_config.json").get("dynamic_time_shift", True)
        if not isinstance(dynamic, bool):
            path = self.part("scheduler") / "scheduler_config.json"
            raise GenerateError(f"{path} has the dynamic_time_shift {dynamic!r}", "expected true or false")
        return SquareRootShift(side=LATENT_SIDE / patch_size) if dynamic else IdentityShift()

    def bridge(self) -> HiddenStateBridge:
        """Which hidden states the transformer was trained with: `bridge` in `model_index.json`, if it says.

        Returns:
            The released model's bridge (text tokens and template) for folders that say nothing.

        Raises:
            GenerateError: If what it says is no bridge.
        """
        index = self.path / INDEX
        said: Any = self.config(".", index.name).get("bridge", {}) if index.exists() else {}
        choices = {"tokens": get_args(KeptTokens), "template": get_args(KeptTemplate)}
        if not isinstance(said, dict) or any(value not in choices.get(key, ()) for key, value in said.items()):
            raise GenerateError(f"{index} has the bridge {said}", f"expected a mapping with any of {choices}")
        return HiddenStateBridge(**said)
