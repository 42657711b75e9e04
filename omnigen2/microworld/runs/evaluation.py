"""What a model of the micro-world can do: pictures of held-out tasks, judged by rules."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from omnigen2.data.batches import Example, Pixels
from omnigen2.microworld.runs.scores import aggregate, micro_judge
from omnigen2.microworld.tasks import from_json
from omnigen2.microworld.tasks import DrawingTask, sample_task
from omnigen2.training.flow_matching import PictureJudge, PictureVerdict
from omnigen2.training.callbacks import EMA
from omnigen2.training.parts import Stream
from omnigen2.training.flow_matching import FlowModel
from omnigen2.files import write_json, write_text
from omnigen2.microworld.runs.judged import Judged, exact_by_family, headline, save_pictures
from omnigen2.microworld.runs.data import MicroWorld
from omnigen2.training.callbacks import Throughput, log_now

SCORES = "scores.json"
SCORES_BEFORE = "scores_before.json"
PICTURES = "pictures.png"
DRAWN_TOGETHER = 24


class MicroJudge(PictureJudge):
    """Judges pictures of micro-world tasks by rules.

    Args:
        tolerance: Of the reader, see `omnigen2.microworld.world.read`.
    """

    def __init__(self, tolerance: float = 0.3) -> None:
        self.tolerance = tolerance

    def judge(self, example: Example, picture: Pixels) -> PictureVerdict:
        """Judge one picture.

        Args:
            example: With its task as `meta`.
            picture: In [-1, 1], shape (3, size, size).

        Returns:
            What is wrong, and whether nothing is.
        """
        judgement = micro_judge(cast(DrawingTask, from_json(example.meta)), picture, self.tolerance)
        return PictureVerdict("; ".join(judgement.unmet), judgement.exact)


class MicroEvaluation(Callback):
    """Draws tasks that are never trained on, and judges them, at the end of training and now and then.

    In the run's folder: `scores.json` with all numbers of the last evaluation, and which tasks were without a fault;
    `scores.md`; and `pictures.png` with the first tasks of each kind, right or wrong. The exact shares go to the
    loggers as `score/…`.

    The tasks are those of the run's `MicroWorld`, drawn by the module's `Drawing` with averaged weights where the run
    has an `EMA`. In-context tasks are also drawn without their references: what a model gets that ignores them.

    Args:
        per_kind: Tasks of each kind, at least 1.
        tolerance: Of the reader, see `omnigen2.microworld.world.read`.
        every_n_steps: Optimizer steps between two evaluations; 0 for the end only.
        shown: Tasks of each kind in the picture.
        seed: Of the tasks, at least 0.
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

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate what training starts from, if it is wanted."""
        if self.before and trainer.global_step == 0:
            self._evaluate(trainer, pl_module, SCORES_BEFORE)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Evaluate if it is time."""
        step = trainer.global_step
        if self.every_n_steps and step % self.every_n_steps == 0 and step < trainer.max_steps:
            self._evaluate(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate the trained model."""
        self._evaluate(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluate the model of a run in which there was nothing to train."""
        if trainer.max_steps == 0:
            self._evaluate(trainer, pl_module)

    def _evaluate(self, trainer: Trainer, module: LightningModule, name: str = SCORES) -> None:
        data: Any = cast(Any, trainer).datamodule
        if not isinstance(module, FlowModel) or not isinstance(data, MicroWorld):
            raise TypeError(
                f"MicroEvaluation needs a FlowModel and MicroWorld data, got {type(module).__name__} and "
                f"{type(data).__name__}; leave the callback out"
            )
        with ExitStack() as stack:
            for callback in cast(list[Any], cast(Any, trainer).callbacks):
                if isinstance(callback, Throughput):
                    stack.enter_context(callback.paused())
                if isinstance(callback, EMA):
                    stack.enter_context(callback.applied(module))
            training = module.training
            module.eval()
            results = self.results(module, data)
            module.train(training)
        if trainer.is_global_zero:
            self._write(Path(trainer.default_root_dir), trainer, results, name)

    def results(self, module: FlowModel, data: MicroWorld) -> dict[str, list[Judged]]:
        """Draw and judge all tasks.

        Args:
            module: The model.
            data: Says which kinds, which vocabulary and which size.

        Returns:
            `"model"`; and `"without references"` if there are in-context tasks.
        """
        rng = Stream.EVALUATION_TASKS.numpy(self.seed)
        kinds = [pair for pair in data.kinds() for _ in range(self.per_kind)]
        tasks = [sample_task(family, kind, data.vocabulary, rng) for family, kind in kinds]
        results = {"model": self._draw(module, data, tasks, with_references=True)}
        context = [task for (family, _), task in zip(kinds, tasks, strict=True) if family == "in_context"]
        if context:
            results["without references"] = self._draw(module, data, context, with_references=False)
        return results

    @torch.no_grad()
    def _draw(
        self, module: FlowModel, data: MicroWorld, tasks: list[DrawingTask], with_references: bool
    ) -> list[Judged]:
        judged: list[Judged] = []
        for start in range(0, len(tasks), DRAWN_TOGETHER):
            some = tasks[start : start + DRAWN_TOGETHER]
            examples = [
                data.example(task, f"evaluation:{start + number}", drop_references=not with_references)
                for number, task in enumerate(some)
            ]
            pictures = module.draw(examples, first=start)
            for task, example, picture in zip(some, examples, pictures, strict=True):
                judged.append(Judged(task, example, picture, micro_judge(task, picture, self.tolerance)))
        return judged

    def _write(self, folder: Path, trainer: Trainer, results: dict[str, list[Judged]], scores_name: str) -> None:
        tables: list[str] = []
        numbers: dict[str, Any] = {
            "step": trainer.global_step,
            "per_kind": self.per_kind,
            "tolerance": self.tolerance,
            "seed": self.seed,
            "exact": exact_by_family(results["model"]),
        }
        for name, judged in results.items():
            scores = aggregate([(type(one.task), one.judgement) for one in judged])
            numbers[name] = scores.values()
            tables.append(f"## {name}\n\n{scores.table()}")
            if name == "model" and scores_name == SCORES:
                log_now(trainer, {f"score/{key}": value for key, value in headline(scores).items()})
        write_json(folder / scores_name, numbers)
        if scores_name != SCORES:
            return
        write_text(folder / "scores.md", "\n\n".join(tables) + "\n")
        save_pictures(folder / PICTURES, f"step {trainer.global_step}", results["model"], self.shown)
