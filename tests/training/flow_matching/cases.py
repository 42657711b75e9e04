"""Drawings and edits on the disk, as chunks with and without what was computed before, and batches of them."""

from itertools import islice
from pathlib import Path
from typing import Any

from omnigen2.data import Batch, OptimizeSettings, optimize
from omnigen2.training.flow_matching import ImageData
from omnigen2.training.flow_matching.data_parts import DataPart
from tests.data.cases import write_jsonl


def write_chunks(folder: Path, draw: list[Any], edits: list[Any], settings: dict[str, OptimizeSettings]) -> Path:
    """A spec of both, and its chunks by name; the pictures are there."""
    write_jsonl(folder / "draw.jsonl", draw)
    write_jsonl(folder / "edits.jsonl", [{"task_type": "edit", **record} for record in edits])
    (folder / "data.yml").write_text("data:\n  - {path: draw.jsonl, ratio: 1}\n  - {path: edits.jsonl, ratio: 1}\n")
    for name, how in settings.items():
        optimize(folder / "data.yml", folder / name, how, lambda advance: None)
    return folder


def image_data(path: Path | list[Path], steps: int = 2, **more: Any) -> ImageData:
    paths = path if isinstance(path, list) else [path]
    parts = {f"own{number or ''}": DataPart(str(each)) for number, each in enumerate(paths)}
    return ImageData(**({"train": parts, "steps": steps, "mixing": "sample"} | more))


def first_batches(path: Path | list[Path], steps: int = 2, **more: Any) -> list[Batch]:
    return list(islice(image_data(path, steps, **more).train_dataloader(), steps))
