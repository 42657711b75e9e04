"""Emu-Edit's three numbers as a judge and a metric: CLIP-I, CLIP-out and DINO of each edited picture."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.evaluation.judging.judge import Item, Judge, Judgement, JudgeProtocol, read_picture
from omnigen2.evaluation.metrics import Clip, DinoImages, GroupedMean, Scores, Valid, cosines
from omnigen2.pictures import ImageFileError
from omnigen2.rl import Picture

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
        self, tasks: Sequence[str], clip_image: Scores, clip_text: Scores, dino: Scores, valid: Valid | None = None
    ) -> None:
        """Count pictures.

        Args:
            tasks: One of `TASKS` for each picture.
            clip_image: Cosine of the CLIP features of the picture and of its source, in [-1, 1].
            clip_text: Cosine of the CLIP features of the picture and of the caption of the wanted result.
            dino: Cosine of the DINO features of the picture and of its source.
            valid: False where a picture could not be read; by default all are valid.

        Raises:
            ValueError: If a task is unknown, numbers differ, or a valid cosine is out of range.
        """
        self.add(tasks, torch.stack([clip_image.double(), clip_text.double(), dino.double()], dim=-1), valid)


class FeatureJudge(Judge):
    """Scores edited pictures by the similarity of features.

    Args:
        clip: Folder of a CLIP model; see `Clip`.
        dino: Folder of a DINO or DINOv2 model; see `DinoImages`.
        device: Where they work.
    """

    def __init__(self, clip: Path, dino: Path, device: torch.device | str = "cpu") -> None:
        self.clip, self.dino = Clip(clip).to(device), DinoImages(dino).to(device)
        self._weights = {"clip": fingerprint(clip), "dino": fingerprint(dino)}
        self._model = f"{clip.resolve().name} + {dino.resolve().name}"

    @property
    def protocol(self) -> JudgeProtocol:
        """Names of the two folders, and hashes of what is in them."""
        return JudgeProtocol("features", self._model, "1", settings=self._weights)

    def judge(self, items: Sequence[Item]) -> list[Judgement]:
        """Compare pictures with their sources and their captions.

        Args:
            items: Of Emu-Edit, whose meta is the caption of the wanted result.

        Returns:
            `clip_i`, `clip_out` and `dino`; a problem where a picture cannot be read.
        """
        found: dict[int, Judgement] = {}
        pairs: dict[int, tuple[Picture, Picture]] = {}
        for index, item in enumerate(items):
            try:
                pairs[index] = read_picture(item.output, "output"), read_picture(item.inputs[0], "input")
            except ImageFileError as error:
                found[index] = Judgement(problem=f"unreadable picture: {error}")
        if pairs:
            scores = self._scores(list(pairs.values()), [items[index].meta for index in pairs])
            names = ("clip_i", "clip_out", "dino")
            for index, row in zip(pairs, scores.tolist(), strict=True):
                found[index] = Judgement(dict(zip(names, (round(x, 6) for x in row), strict=True)))
        return [found[index] for index in range(len(items))]

    def _scores(self, pairs: list[tuple[Picture, Picture]], captions: list[str]) -> Float[Tensor, "samples 3"]:
        edited, sources = ([pair[side] for pair in pairs] for side in (0, 1))
        features = self.clip.images(edited)
        columns = [
            cosines("CLIP-I", features, self.clip.images(sources)),
            cosines("CLIP-out", features, self.clip.texts(captions)),
            cosines("DINO", self.dino(edited), self.dino(sources)),
        ]
        return torch.stack(columns, dim=-1).cpu()


def fingerprint(folder: Path) -> str:
    """A hash of a model's weights and settings: two folders with the same one give the same features.

    Args:
        folder: Of a model in the transformers layout.

    Returns:
        12 hexadecimal digits.
    """
    total = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:12]
