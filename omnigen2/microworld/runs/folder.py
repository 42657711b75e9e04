"""A folder of micro-world tasks and pictures, and the judge that scores it by rules.

tasks.jsonl   {"key": "00000", "task": what `microworld.record.to_json` writes}
00000.png     the picture that a model drew for it

Pictures that a task gives to the model are drawn from it again.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.pictures import ImageFileError, ImageReader
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.evaluation.judging import Item, Judge, Judgement, JudgeProtocol, PictureFile
from omnigen2.evaluation.judging import unique
from omnigen2.microworld.runs.scores import MicroTask, group_of, micro_judge
from omnigen2.evaluation.judging import file_name, json_object, text
from omnigen2.microworld.tasks import Caption
from omnigen2.microworld.tasks import ContextTask
from omnigen2.microworld.tasks import EditTask
from omnigen2.microworld.world import TOLERANCE
from omnigen2.microworld.tasks import from_json, to_json
from omnigen2.microworld.tasks import png, to_sample

INPUT_SIZE = 64
"""Side of the pictures that are drawn as an item's inputs."""


def write_micro(folder: Path, tasks: Sequence[MicroTask], pictures: Sequence[Float[Tensor, "3 size size"]]) -> None:
    """Write tasks and pictures for `omnigen2 evaluate micro-…`.

    Args:
        folder: Made if it is not there.
        tasks: What was asked for.
        pictures: What was drawn, in [-1, 1].

    Raises:
        ValueError: If there are not as many pictures as tasks.
    """
    if len(tasks) != len(pictures):
        raise ValueError(f"got {len(tasks)} tasks and {len(pictures)} pictures; give one picture for each task")
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"key": f"{n:05d}", "task": to_json(task)}) for n, task in enumerate(tasks)]
    (folder / "tasks.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for number, one in enumerate(pictures):
        (folder / f"{number:05d}.png").write_bytes(png(one))


def micro_items(images: Path, data: Path | None, kind: type[MicroTask]) -> list[Item]:
    """The items of one kind of task.

    Args:
        images: With `{key}.png`.
        data: With `tasks.jsonl`; the same folder by default.
        kind: Tasks of other kinds are left out.

    Returns:
        One item per task, with the tag, kind or subtask as its group.

    Raises:
        EvaluationError: If the file is missing, a line is wrong, or there is no task of the kind.
    """
    path = (data or images) / "tasks.jsonl"
    if not path.is_file():
        raise EvaluationError(f"there is no file {path}", "write_micro of omnigen2.microworld.runs.folder writes one")
    items: list[Item] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path}, line {number}"
        row = json_object(line, where)
        key, meta = file_name(text(row, "key", where), where), text(row, "task", where)
        task = from_json(meta)
        if not isinstance(task, kind):
            continue
        sample = to_sample(task, INPUT_SIZE, key)
        inputs: tuple[PictureFile, ...] = tuple(bytes(one) for one in sample.references if isinstance(one, bytes))
        items.append(Item(key, group_of(task), sample.instruction, inputs, images / f"{key}.png", meta=meta))
    return unique(items, path.parent)


class RulesJudge(Judge):
    """Judges micro-world pictures by the verifier's rules.

    Args:
        tolerance: Of the reader: the largest error of an item that is still recognised; higher is milder.
    """

    def __init__(self, tolerance: float = TOLERANCE) -> None:
        self.tolerance = tolerance

    @property
    def protocol(self) -> JudgeProtocol:
        """Fixed but for the tolerance."""
        return JudgeProtocol("rules", "micro-world verifier", "1", settings={"tolerance": self.tolerance})

    def judge(self, items: Sequence[Item]) -> list[Judgement]:
        """Judge pictures.

        Args:
            items: From `micro_items`.

        Returns:
            The benchmark's scores; the reasons are the clauses that are not met.
        """
        return [self._judge(item) for item in items]

    def _judge(self, item: Item) -> Judgement:
        task = from_json(item.meta)
        if not isinstance(task, Caption | EditTask | ContextTask):
            return Judgement(problem="the rules judge captions, edits and in-context tasks only")
        try:
            image = ImageReader().read(item.output)
        except ImageFileError as error:
            return Judgement(problem=f"unreadable picture: {error}")
        if image.width != image.height:
            return Judgement(problem=f"the picture is {image.width}x{image.height}, expected a square")
        pixels = torch.from_numpy(np.asarray(image, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1
        found = micro_judge(task, pixels, self.tolerance)
        renamed = {"success": "semantic_consistency", "preservation": "perceptual_quality"}
        scores = {renamed.get(name, name): score for name, score in found.scores.items()}
        return Judgement(scores, {"unmet": "; ".join(found.unmet)} if found.unmet else {})
