"""Stand-ins: a model whose pictures are one grey, and a judge that wants it light."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from typing_extensions import override

from omnigen2.curation.reflection import Attempts, Mending, Model, Prompt, ReflectionJudge, Shown, Unjudged, Verdict
from omnigen2.curation.reflection import reflect as reflect_with
from omnigen2.generate import Picture, Progress, Request, Sampling

PROMPTS = tuple(Prompt(text, 1000 * number, 4, 6) for number, text in enumerate("abcdefghi"))
RIGHT = 235


def grey_of(*words: object) -> int:
    return hashlib.sha256(repr(words).encode()).digest()[0]


@dataclass
class GreyModel:
    """Draws a grey that its skill, the prompt and the seed decide; an edit lightens or darkens what is there.

    Attributes:
        drawn: Everything it was asked for.
    """

    skill: int = 0
    drawn: list[Request] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)

    def many(self, requests: Sequence[Request], sampling: Sampling, progress: Progress) -> Sequence[Picture]:
        self.drawn += requests
        self.batches.append(len(requests))
        progress(1, 1)
        return [Picture(self._image(request), request, sampling) for request in requests]

    def _image(self, request: Request) -> Image.Image:
        grey = grey_of(request.prompt, request.seed, self.skill)
        for path in request.images:
            with Image.open(path) as image:  # pyright: ignore[reportArgumentType]
                grey = min(255, int(image.getpixel((0, 0))[0]) + grey // 3 - 30)
        return Image.new("RGB", (request.width or 1, request.height or 1), (max(grey, 0),) * 3)


@dataclass
class LightJudge(ReflectionJudge):
    """Finds a picture right if it is light enough.

    Attributes:
        silent: Greys about which it says nothing now.
        confused: Greys about which it says nothing that can be read.
        asked: How often it was shown each prompt's pictures, by grey.
    """

    silent: frozenset[int] = frozenset()
    confused: frozenset[int] = frozenset()
    by: str = "light"
    asked: list[tuple[str, int]] = field(default_factory=list)

    @override
    def judge(self, shown: Sequence[Shown]) -> Sequence[Verdict | Unjudged]:
        return [self._said(one) for one in shown]

    def _said(self, shown: Shown) -> Verdict | Unjudged:
        grey = round((float(shown.picture[0, 0, 0]) + 1) * 127.5)
        self.asked.append((shown.prompt.key, grey))
        if grey in self.silent:
            return Unjudged("no answer", "it sleeps", transient=True)
        if grey in self.confused:
            return Unjudged("nonsense", str(grey))
        if grey >= RIGHT:
            return Verdict(float(grey))
        return Verdict(float(grey), ("it is dark",), ("lighten it",), f"lighten {grey}")


def model_of(grey: GreyModel, folder: Path) -> Model:
    """A model whose folder says its skill."""
    path = folder / f"model-{grey.skill}"
    path.mkdir(parents=True, exist_ok=True)
    (path / "weights").write_text(str(grey.skill))
    return Model(path.name, [path], lambda: grey)


def reflect(
    folder: Path,
    grey: GreyModel,
    judge: LightJudge,
    rounds: int = 2,
    prompts: Sequence[Prompt] = PROMPTS,
    **options,
) -> list[Attempts]:
    mending = Mending(**{"rounds": rounds, "tries": 2, "batch_size": 4, "sampling": Sampling(steps=1), **options})
    return reflect_with(folder / "out", prompts, mending, model_of(grey, folder), judge)


def content_of(folder: Path) -> dict[str, bytes]:
    """All files below a folder but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
