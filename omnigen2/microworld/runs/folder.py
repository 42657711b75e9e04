"""A folder of micro-world tasks and pictures, and the judge that scores it by rules.

tasks.jsonl   {"key": "00000", "task": what `to_json` writes}
00000.png     the picture that a model drew for it

Pictures that a task gives to the model are drawn from it again.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from omnigen2.evaluation.judging import BenchmarkItem, BenchmarkJudge, JudgeProtocol, PictureFile, Row, unique
from omnigen2.evaluation.metrics import EvaluationError
from omnigen2.files import read_json_lines
from omnigen2.microworld.runs.scores import micro_judge
from omnigen2.microworld.tasks import Caption, ContextTask, DrawingTask, EditTask, from_json, to_json, to_sample
from omnigen2.microworld.world import TOLERANCE
from omnigen2.pictures import ImageFileError, ImageReader, to_pixels, to_png
from omnigen2.rl import Failure, Judgement, Outcome, Picture

INPUT_SIZE = 64
"""Side of the pictures that are drawn as an item's inputs."""


def write_micro(folder: Path, tasks: Sequence[DrawingTask], pictures: Sequence[Picture]) -> None:
    """Write tasks, and the picture in [-1, 1] that was drawn for each, for `omnigen2 evaluate micro-…`.

    Raises:
        ValueError: If there are not as many pictures as tasks.
    """
    if len(tasks) != len(pictures):
        raise ValueError(f"got {len(tasks)} tasks and {len(pictures)} pictures; give one picture for each task")
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"key": f"{n:05d}", "task": to_json(task)}) for n, task in enumerate(tasks)]
    (folder / "tasks.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for number, one in enumerate(pictures):
        (folder / f"{number:05d}.png").write_bytes(to_png(one))


def micro_items(images: Path, data: Path | None, kind: type[DrawingTask]) -> list[BenchmarkItem]:
    """One item for each task of a kind.

    Args:
        data: With `tasks.jsonl`; the same folder by default.

    Raises:
        EvaluationError: If the file is missing, a line is wrong, or there is no task of the kind.
    """
    path = (data or images) / "tasks.jsonl"
    if not path.is_file():
        raise EvaluationError(
            f"there is no file {path}",
            f"`omnigen2 microworld tasks {path.parent}` writes tasks; --data names its folder",
        )
    items: list[BenchmarkItem] = []
    for line in read_json_lines(path, EvaluationError):
        row = Row(line.value, line.where, path.parent)
        key, meta = row.file_name("key"), row.text("task")
        try:
            task = from_json(meta)
        except (ValueError, TypeError, RecursionError) as error:
            raise EvaluationError(f"{row.where}: {error}", "`omnigen2 microworld tasks` writes tasks") from error
        if not isinstance(task, kind):
            continue
        sample = to_sample(task, INPUT_SIZE, key)
        inputs: tuple[PictureFile, ...] = tuple(bytes(one) for one in sample.references if isinstance(one, bytes))
        output = images / f"{key}.png"
        items.append(BenchmarkItem(key, task.group, sample.instruction, inputs, output, meta=meta, where=row.where))
    return unique(items, path.parent)


class RulesJudge(BenchmarkJudge):
    """Judges by the verifier's rules, with a tolerance of the reader; its words are the clauses that are not met."""

    voice = "unmet"

    def __init__(self, tolerance: float = TOLERANCE) -> None:
        self.tolerance = tolerance

    @property
    @override
    def protocol(self) -> JudgeProtocol:
        return JudgeProtocol("rules", "micro-world verifier", "1", settings={"tolerance": self.tolerance})

    @override
    def judge(self, items: Sequence[BenchmarkItem]) -> list[Outcome]:
        return [self._judge(item) for item in items]

    def _judge(self, item: BenchmarkItem) -> Outcome:
        task = from_json(item.meta)
        if not isinstance(task, Caption | EditTask | ContextTask):
            return Failure("the rules judge captions, edits and in-context tasks only")
        try:
            image = ImageReader().read(item.output)
        except ImageFileError as error:
            return Failure("unreadable picture", str(error))
        if image.width != image.height:
            return Failure(f"the picture is {image.width}x{image.height}, expected a square")
        found = micro_judge(task, to_pixels(image), self.tolerance)
        renamed = {"success": "semantic_consistency", "preservation": "perceptual_quality"}
        parts = {renamed.get(name, name): score for name, score in found.parts.items()}
        return Judgement(found.value, parts, found.reason)
