"""A pipeline over text files, whose lines say what becomes of them: `0.7 a cat` is an item with its score and words."""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from PIL import Image
from typing_extensions import override

from omnigen2.curation import (
    CurationError,
    Dropped,
    Finished,
    Item,
    OpenClip,
    Outcome,
    Recipe,
    Resources,
    Scoring,
    Section,
    Step,
    read_recipe,
)


class Lines(Step):
    """A file becomes the items of its lines, each with two pictures."""

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        lines = clip.file.read_text().splitlines()
        if not lines:
            return [Dropped("empty")]
        return [tuple(_line(number, line, clip) for number, line in enumerate(lines))]


class Grade(Scoring):
    """Takes the score of a line, and does what the line says."""

    reasons = {"grade.least": "too low", "grade.most": "too high"}
    elsewhere = ("workers",)
    batch = 3

    def __init__(self, least: float = 0.25, most: float = 0.75, workers: int = 0) -> None:
        self.least, self.most = least, most
        self.resources = Resources(0.5, workers=workers)

    @property
    @override
    def limits(self) -> Mapping[str, float]:
        return {"grade.least": self.least, "grade.most": self.most}

    @override
    def score(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Mapping[str, float]]:
        for item in items:
            if "boom" in item.made["line"]:
                raise KeyError("boom")
            if "die" in item.made["line"]:
                os._exit(1)
        return [{"grade": float(item.made["line"].split()[0])} for item in items]


class Say(Step):
    """Takes the words of a line as an instruction; a server is silent while a file is there.

    Args:
        url: Where the server would be.
    """

    elsewhere = ("resources", "batch", "url")

    def __init__(self, silent: str = "", url: str = "here", wordless: bool = False) -> None:
        self.silent, self.url, self.wordless = silent, url, wordless

    @override
    def check(self) -> None:
        if self.url == "nowhere":
            raise CurationError("there is no server nowhere", "name one")

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        if self.silent and Path(self.silent).exists():
            return [Dropped("no answer", "status 503", transient=True) for _ in items]
        return [(replace(item, instruction="" if self.wordless else _words(item)),) for item in items]


class Share(Section):
    """How many examples were kept."""

    @override
    def text(self, finished: Sequence[Finished], clips: Path) -> str:
        return f"## Share\n\n{sum(len(one.kept) for one in finished)} of {clips.name}"


def recipe(folder: Path, changes: Sequence[str] = (), **init_args: Mapping[str, Any]) -> Recipe:
    """The pipeline, with settings of its steps."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content(**init_args), sort_keys=False))
    return read_recipe(path, changes)


def content(**init_args: Mapping[str, Any]) -> dict[str, Any]:
    """What the recipe's file says."""
    steps = {"lines": Lines, "grade": Grade, "say": Say}
    return {
        "task": "edit",
        "files": [".txt"],
        "steps": {
            name: {"class_path": f"{__name__}.{kind.__name__}", "init_args": dict(init_args.get(name, {}))}
            for name, kind in steps.items()
        },
        "sections": [{"class_path": f"{__name__}.Share"}],
    }


def write_clips(folder: Path, *texts: str) -> Path:
    """Text files of the names 0.txt, 1.txt, …"""
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"{number}.txt").write_text(text)
    return folder


def _line(number: int, line: str, clip: OpenClip) -> Item:
    frames = tuple(clip.keep(seconds, _png(seconds)) for seconds in (float(number), number + 0.5))
    return Item(f"line {number}", (float(number), number + 1.0), frames, made={"line": line})


def _png(seconds: float) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (int(40 * seconds) % 256, 90, 120)).save(file, "PNG")
    return file.getvalue()


def _words(item: Item) -> str:
    return " ".join(str(item.made["line"]).split()[1:])
