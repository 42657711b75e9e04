"""What a benchmark asks for, and who judges it."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from PIL import Image

from omnigen2.pictures import ImageReader, to_pixels
from omnigen2.rl import Outcome, Picture

PictureFile: TypeAlias = Path | bytes
"""An image file, or its contents."""


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    """One picture that a benchmark asks for.

    Attributes:
        key: Names it within its group and language.
        group: Subtask, tag or kind.
        output: The picture that it made; the file may be missing.
        meta: Further facts for the judge, as text; the micro-world's task in JSON.
        subsets: Names of published subsets that it belongs to, such as GEdit-Bench's `"intersection"`.
        where: The file and the row that asked for it, for messages.
    """

    key: str
    group: str
    instruction: str
    inputs: tuple[PictureFile, ...]
    output: Path
    language: str = "en"
    meta: str = ""
    subsets: tuple[str, ...] = ()
    where: str = field(default="", compare=False)

    @property
    def name(self) -> tuple[str, str, str]:
        """Group, language and key: unique within a benchmark."""
        return self.group, self.language, self.key

    def digest(self, benchmark: str, protocol: "JudgeProtocol") -> str:
        """A hash of all that a judgement depends on: instruction, pictures, benchmark and protocol."""
        facts = [benchmark, protocol.to_json(), self.group, self.instruction, self.language, self.meta]
        pictures = [hashlib.sha256(contents(file)).hexdigest() for file in (*self.inputs, self.output)]
        return hashlib.sha256(json.dumps([facts, pictures], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class JudgeProtocol:
    """How pictures were judged. Numbers of different protocols cannot be compared.

    Attributes:
        judge: The kind of judge, such as `"chat"` or `"rules"`.
        temperature: Of its answers; None if it was asked without one.
        passes: Answers that are averaged for each score.
        seed: Of its answers; None if it was asked without one.
        image_size: Longest side of the pictures that it is shown, in pixels; None if they are shown as they are.
        settings: Whatever else its answers depend on, by name.
    """

    judge: str
    model: str
    prompt_version: str
    temperature: float | None = 0.0
    passes: int = 1
    image_size: int | None = None
    seed: int | None = 0
    settings: Mapping[str, float | str] = field(default_factory=dict[str, "float | str"])

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return asdict(self) | {"settings": dict(sorted(self.settings.items()))}

    def differences(self, other: "JudgeProtocol") -> list[str]:
        """What differs between two protocols: `"temperature: 0.0 and 1.0"` for each field."""
        mine, theirs = self.to_json(), other.to_json()
        return [f"{name}: {mine[name]!r} and {theirs[name]!r}" for name in mine if mine[name] != theirs[name]]


class BenchmarkJudge(ABC):
    """Scores pictures. It never invents a score: what cannot be judged is a `Failure`."""

    voice: ClassVar[str] = "judge"
    """What reports call its words."""

    @property
    @abstractmethod
    def protocol(self) -> JudgeProtocol:
        """How it judges; the same protocol, the same numbers, as far as the judge can promise."""

    @abstractmethod
    def judge(self, items: Sequence[BenchmarkItem]) -> list[Outcome]:
        """Judge pictures, perhaps side by side: an outcome for each, in order, whose parts are the scores."""


def contents(file: PictureFile) -> bytes:
    """The bytes of an image file."""
    return file if isinstance(file, bytes) else file.read_bytes()


def read_image(file: PictureFile, name: str) -> Image.Image:
    """An image file, upright and in RGB.

    Args:
        name: What messages call contents.

    Raises:
        ImageFileError: If it cannot be read.
    """
    return ImageReader().read(file, name if isinstance(file, bytes) else None)


def read_picture(file: PictureFile, name: str) -> Picture:
    """The same as numbers: in [-1, 1], shape (3, height, width)."""
    return to_pixels(read_image(file, name))
