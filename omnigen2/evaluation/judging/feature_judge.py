"""Emu-Edit's three numbers as a judge and a metric: CLIP-I, CLIP-out and DINO of each edited picture."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import override

from omnigen2.evaluation.judging.judge import BenchmarkItem, BenchmarkJudge, JudgeProtocol, read_picture
from omnigen2.evaluation.metrics import Clip, Column, DinoImages, GroupedMean, Valid, cosines
from omnigen2.pictures import ImageFileError
from omnigen2.rl import Failure, Judgement, Outcome, Picture

TASKS = ("background", "global", "style", "remove", "add", "local", "texture")
"""The `task`s of the published test set."""
COLUMNS = ("CLIP-I", "CLIP-out", "DINO")


class EmuEdit(GroupedMean):
    """Mean CLIP-I, CLIP-out and DINO of edited pictures, by task and over all pictures.

    High CLIP-I and DINO say that the picture still looks like its source: a copy of the source has 1 in both. So they
    mean something beside CLIP-out only.

    Source: arXiv:2311.10089 (Emu Edit), section 5.
    """

    def __init__(self) -> None:
        rows = {**{task: [[task]] for task in TASKS}, "overall": [list(TASKS)]}
        super().__init__("Emu-Edit", TASKS, COLUMNS, rows, lowest=-1.0, highest=1.0, digits=3)

    def update(
        self, tasks: Sequence[str], clip_image: Column, clip_text: Column, dino: Column, valid: Valid | None = None
    ) -> None:
        """Count pictures.

        Args:
            clip_image: Cosine of the CLIP features of the picture and of its source, in [-1, 1].
            clip_text: Cosine of the CLIP features of the picture and of the caption of the wanted result.
            dino: Cosine of the DINO features of the picture and of its source.

        Raises:
            ValueError: If a task is unknown, numbers differ, or a valid cosine is out of range.
        """
        self.add(tasks, torch.stack([clip_image.double(), clip_text.double(), dino.double()], dim=-1), valid)


class FeatureJudge(BenchmarkJudge):
    """Scores edited pictures by the similarity of features: `clip_i`, `clip_out` and `dino`.

    Items are those of Emu-Edit, whose meta is the caption of the wanted result.
    """

    def __init__(self, clip: Path, dino: Path, device: torch.device | str = "cpu") -> None:
        self.clip, self.dino = Clip(clip).to(device), DinoImages(dino).to(device)
        self._weights = {"clip": fingerprint(clip), "dino": fingerprint(dino)}
        self._model = f"{clip.resolve().name} + {dino.resolve().name}"

    @property
    @override
    def protocol(self) -> JudgeProtocol:
        return JudgeProtocol("features", self._model, "1", settings=self._weights)

    @override
    def judge(self, items: Sequence[BenchmarkItem]) -> list[Outcome]:
        pairs = [_pair(item) for item in items]
        readable = [(pair, item.meta) for pair, item in zip(pairs, items, strict=True) if not isinstance(pair, Failure)]
        rows = iter(self._scores(*zip(*readable, strict=True)).tolist() if readable else ())
        return [pair if isinstance(pair, Failure) else _judgement(next(rows)) for pair in pairs]

    def _scores(self, pairs: Sequence[tuple[Picture, Picture]], captions: Sequence[str]) -> Float[Tensor, "samples 3"]:
        edited, sources = ([pair[side] for pair in pairs] for side in (0, 1))
        features = self.clip.images(edited)
        columns = [
            cosines("CLIP-I", features, self.clip.images(sources)),
            cosines("CLIP-out", features, self.clip.texts(captions)),
            cosines("DINO", self.dino(edited), self.dino(sources)),
        ]
        return torch.stack(columns, dim=-1).cpu()


def _pair(item: BenchmarkItem) -> tuple[Picture, Picture] | Failure:
    try:
        return read_picture(item.output, "output"), read_picture(item.inputs[0], "input")
    except ImageFileError as error:
        return Failure("unreadable picture", str(error))


def _judgement(row: Sequence[float]) -> Judgement:
    clip_i, clip_out, dino = (round(value, 6) for value in row)
    return Judgement(clip_out, {"clip_i": clip_i, "clip_out": clip_out, "dino": dino})


def fingerprint(folder: Path) -> str:
    """A hash of a model's weights and settings, 12 digits: two folders with the same one give the same features."""
    total = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:12]
