"""What a model of the micro-world can do: pictures of held-out tasks, judged by rules."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from omnigen2.data.batches import Example, Pixels
from omnigen2.files import read_json, write_bytes, write_json, write_text
from omnigen2.microworld.runs.data import MicroWorld
from omnigen2.microworld.runs.families import LEGEND, changes, families_table
from omnigen2.microworld.runs.prompts import MicroPrompts
from omnigen2.microworld.runs.scores import Judged, aggregate, exact_by_family, judge_all, micro_judge
from omnigen2.microworld.tasks import DrawingTask, from_json, sample_task
from omnigen2.microworld.world import MAX_LETTERS, GlyphTask, draw, sample_glyphs
from omnigen2.pictures import Panel, Section, sheet_png
from omnigen2.rl import Judgement
from omnigen2.training.callbacks import beside_training, log_now
from omnigen2.training.flow_matching import FlowModel, PictureJudge
from omnigen2.training.parts import Stream

SCORES = "scores.json"
SCORES_BEFORE = "scores_before.json"
PICTURES = "pictures.png"
DRAWN_TOGETHER = 24


class MicroJudge(PictureJudge):
    """Judges pictures of examples with a micro-world task as `meta` by rules: what is wrong, and whether nothing is.

    Args:
        tolerance: Of the reader, see `omnigen2.microworld.world.read`.
    """

    def __init__(self, tolerance: float = 0.3) -> None:
        self.tolerance = tolerance

    @override
    def judge(self, example: Example, picture: Pixels) -> Judgement:
        return micro_judge(cast("DrawingTask | GlyphTask", from_json(example.meta)), picture, self.tolerance)


class MicroEvaluation(Callback):
    """Draws tasks that are never trained on, and judges them, at the end of training and now and then.

    In the run's folder: `scores.json` with all numbers of the last evaluation, which families were trained, and which
    tasks were without a fault; `scores.md`; and `pictures.png` with the first tasks of each kind, right or wrong. The
    exact shares, and the texture of plain backgrounds, go to the loggers as `score/…`. The run's report begins with all
    families before and after, trained or not.

    The tasks are those of the run's `MicroWorld`, drawn by the module's `Drawing` in `beside_training`: with averaged
    weights where the run has an `EMA`. In-context tasks are also drawn without their references: what a model gets
    that ignores them. Where prompts are asked for (`MicroPrompts`), letters are drawn too.

    Args:
        per_kind: Tasks of each kind, at least 1.
        every_n_steps: Optimizer steps between two evaluations; 0 for the end only.
        before: Whether the model is also evaluated before it is trained: `scores_before.json` has the numbers then, of
            the same tasks and noise.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        per_kind: int = 24,
        tolerance: float = 0.3,
        every_n_steps: int = 0,
        shown: int = 4,
        seed: int = 0,
        before: bool = False,
    ) -> None:
        if per_kind < 1 or every_n_steps < 0 or shown < 1 or seed < 0:
            raise ValueError(
                "MicroEvaluation needs per_kind >= 1, every_n_steps >= 0, shown >= 1 and seed >= 0, got "
                f"{per_kind}, {every_n_steps}, {shown} and {seed}"
            )
        self.per_kind = per_kind
        self.tolerance = tolerance
        self.every_n_steps = every_n_steps
        self.shown = shown
        self.seed = seed
        self.before = before

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.before and trainer.global_step == 0:
            self._evaluate(trainer, pl_module, SCORES_BEFORE)

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step
        if self.every_n_steps and step % self.every_n_steps == 0 and step < trainer.max_steps:
            self._evaluate(trainer, pl_module)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._evaluate(trainer, pl_module)

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.max_steps == 0:  # nothing was trained
            self._evaluate(trainer, pl_module)

    def report_section(self, folder: Path) -> str:
        """All families before and after, in Markdown, for the run's report."""
        found = changes(read_json(folder / SCORES_BEFORE), read_json(folder / SCORES))
        return f"{families_table(found)}\n\n{LEGEND}"

    def _evaluate(self, trainer: Trainer, module: LightningModule, name: str = SCORES) -> None:
        data: Any = cast(Any, trainer).datamodule
        if not isinstance(module, FlowModel) or not isinstance(data, MicroWorld):
            raise TypeError(
                f"MicroEvaluation needs a FlowModel and MicroWorld data, got {type(module).__name__} and "
                f"{type(data).__name__}; leave the callback out"
            )
        with beside_training(trainer, module):
            results = self.results(module, data)
        if trainer.is_global_zero:
            self._write(Path(trainer.default_root_dir), trainer, results, name)

    def results(self, module: FlowModel, data: MicroWorld) -> dict[str, list[Judged]]:
        """Draw and judge all tasks: `"model"`; and `"without references"` if there are in-context tasks."""
        rng = Stream.EVALUATION_TASKS.numpy(self.seed)
        kinds = [pair for pair in data.kinds() for _ in range(self.per_kind)]
        tasks = [sample_task(family, kind, data.vocabulary, rng) for family, kind in kinds]
        results = {"model": self._draw(module, data, tasks, with_references=True)}
        if isinstance(data, MicroPrompts):
            results["model"] += self._draw(module, data, self._letters(), with_references=True, first=len(tasks))
        context = [task for task in tasks if task.family == "in_context"]
        if context:
            results["without references"] = self._draw(module, data, context, with_references=False)
        return results

    def _letters(self) -> list[GlyphTask]:
        rng = Stream.EVALUATION_LETTERS.numpy(self.seed)
        return [sample_glyphs(rng, 1 + number % MAX_LETTERS) for number in range(self.per_kind)]

    def _draw(
        self,
        module: FlowModel,
        data: MicroWorld,
        tasks: Sequence[DrawingTask | GlyphTask],
        with_references: bool,
        first: int = 0,
    ) -> list[Judged]:
        judged: list[Judged] = []
        for start in range(0, len(tasks), DRAWN_TOGETHER):
            some = tasks[start : start + DRAWN_TOGETHER]
            examples = [
                data.example(task, f"evaluation:{start + number}", drop_references=not with_references)
                for number, task in enumerate(some)
            ]
            judged += judge_all(some, module.draw(examples, first=first + start), self.tolerance)
        return judged

    def _write(self, folder: Path, trainer: Trainer, results: dict[str, list[Judged]], scores_name: str) -> None:
        scores = {name: aggregate(judged) for name, judged in results.items()}
        facts = {"step": trainer.global_step, "per_kind": self.per_kind, "tolerance": self.tolerance, "seed": self.seed}
        trained = cast(Any, trainer).datamodule.trained if trainer.global_step else ()
        exact = exact_by_family(results["model"])
        numbers = {name: one.values() for name, one in scores.items()}
        write_json(folder / scores_name, {**facts, "trained": list(trained), "exact": exact, **numbers})
        if scores_name != SCORES:
            return
        log_now(trainer, {f"score/{name}": value for name, value in scores["model"].headline().items()})
        parts = [self.report_section(folder), *(f"## {name}\n\n{one.table()}" for name, one in scores.items())]
        write_text(folder / "scores.md", "\n\n".join(parts) + "\n")
        save_pictures(folder / PICTURES, f"step {trainer.global_step}", results["model"], self.shown)


def save_pictures(path: Path, title: str, judged: Sequence[Judged], shown: int) -> None:
    """Write the first tasks of each kind with their verdicts as a PNG file."""
    groups: dict[str, list[Judged]] = {}
    for one in judged:
        name = f"{type(one.task).__name__.removesuffix('Task').lower()}: {one.task.group}"
        groups.setdefault(name, []).append(one)
    sections = [
        Section(f"{name}, {sum(one.exact for one in own)} of {len(own)} right", tuple(map(_panel, own[:shown])))
        for name, own in groups.items()
    ]
    write_bytes(path, sheet_png(title, sections))


def _panel(one: Judged) -> Panel:
    size = one.picture.shape[-1]
    given = [(f"reference {number}", draw(scene, size)) for number, scene in enumerate(one.task.references, start=1)]
    verdict = f"{'✓' if one.exact else '✗'} {one.judgement.reason}".strip()
    return Panel("", (*given, ("drawn" if given else "", one.picture)), one.task.instruction, verdict, one.exact)
