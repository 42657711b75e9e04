"""Small samples, files and sources for the tests of the data room."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from omnigen2.data import ListSource, Planner, Sample, SampleSizes, Source, TokenBudget
from omnigen2.data.samples import Chunks
from omnigen2.pictures import ResizePolicy

POLICY = ResizePolicy(max_pixels=64 * 64, multiple=8, reference_pixels=(32 * 32,))


def picture(height: int = 16, width: int = 16, colour: tuple[int, int, int] = (200, 30, 60)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def drawing(number: int, side: int = 16) -> Sample:
    return Sample("text_to_image", f"picture {number}", target=picture(side, side), key=f"s:{number}")


def edit(number: int) -> Sample:
    return Sample("edit", f"edit {number}", (picture(24, 16),), picture(16, 24), key=f"e:{number}")


def answer(number: int) -> Sample:
    return Sample("understanding", f"{number}?", answer=str(number), key=f"q:{number}")


class Sizes(Source):
    """A source that knows sizes only."""

    def __init__(self, sizes: list[SampleSizes]) -> None:
        self.all = sizes

    def __len__(self) -> int:
        return len(self.all)

    def __getitem__(self, index: int) -> Sample:
        return answer(index)

    def sizes(self, index: int) -> SampleSizes:
        return self.all[index]


class Chunked(Sizes):
    """Samples of one token in chunks; remembers which chunks it was told of."""

    def __init__(self, lengths: list[int], window: int = 64) -> None:
        super().__init__([SampleSizes(1, (), None)] * sum(lengths))
        self.lengths = np.array(lengths)
        self.window = window
        self.announced: list[list[int]] = []

    def chunks(self) -> Chunks:
        return Chunks(self.lengths, self.window)

    def chunk(self, number: int) -> int:
        return int(np.searchsorted(np.cumsum(self.lengths), number, "right"))

    def soon(self, chunks: Sequence[int]) -> None:
        self.announced.append(list(chunks))


def texts(count: int, tokens: int = 1) -> Sizes:
    return Sizes([SampleSizes(tokens, (), None)] * count)


def three_tasks(seed: int = 0, tokens: int = 300, **settings: Any) -> Planner:
    """Three small real sources with weights 5, 3 and 2."""
    sources = {
        "draw": ListSource([drawing(i, 8 * (1 + i % 4)) for i in range(13)]),
        "edit": ListSource([edit(i) for i in range(7)]),
        "ask": ListSource([answer(i) for i in range(5)]),
    }
    return Planner(sources, {"draw": 5, "edit": 3, "ask": 2}, TokenBudget(tokens, POLICY), seed=seed, **settings)


def write_jsonl(file: Path, records: list[Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def t2i(image: str, **more: Any) -> dict[str, Any]:
    return {"task_type": "t2i", "instruction": f"draw {image}", "output_image": image, **more}
