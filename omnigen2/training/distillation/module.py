"""What all distillations share: a frozen teacher beside the student, a lesson for each batch, and the regression."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from weakref import ref

import torch
from torch import Tensor
from typing_extensions import override

from omnigen2.data.batches import Batch
from omnigen2.dit import DiffusionTransformer
from omnigen2.flow import (
    FlowLoss,
    PerSample,
    RectifiedFlowObjective,
    SampleIndex,
    VelocityModel,
    share_of_elements,
    velocity_to_data,
    velocity_to_noise,
)
from omnigen2.generate import Sampling, sampling_config, say_sampling
from omnigen2.shards import is_first_process
from omnigen2.training.distillation.targets import States
from omnigen2.training.distillation.teacher import Teacher, samples_of
from omnigen2.training.flow_matching import Drawing, FlowMatchingModule, SettingsError, TextPart
from omnigen2.training.parts import CodecSource, LearningRate, OptimizerRecipe, Saved, Stream, TransformerPart

FORWARDS = 3
"""A training step of the student is about so many forward passes: the backward pass is two."""


@dataclass(frozen=True)
class Lesson:
    """A batch to learn from.

    Attributes:
        teacher: Its guided velocity, without a gradient.
        student: The velocity of the conditional branch, with a gradient where one is wanted.
        data: Patches of the batch's pictures, shape (target tokens, patch_channels).
        sample_index: The sample of each target token.
        tokens: Target tokens of each sample, on the host.
        generator: Of all that is drawn for the batch.
    """

    teacher: VelocityModel
    student: VelocityModel
    data: States
    sample_index: SampleIndex
    tokens: tuple[int, ...]
    generator: torch.Generator

    def noise(self) -> States:
        """Standard normal, in the shape of the data."""
        drawn = torch.randn(self.data.shape, generator=self.generator, device=self.generator.device)
        return drawn.to(self.data.device, non_blocking=True)


class Aim(NamedTuple):
    """Where the student is looked at, and the velocity that it should have there.

    Attributes:
        x_t: Shape (target tokens, patch_channels).
        t: Time of each sample.
        velocity: Shape of `x_t`.
    """

    x_t: States
    t: PerSample
    velocity: States


class Evaluations(NamedTuple):
    """How often a batch is evaluated beside the student's own forward and backward pass.

    Attributes:
        teacher: All branches of the guided velocity.
        student: Without a gradient.
    """

    teacher: int
    student: int


class DistillationModule(FlowMatchingModule):
    """A student learns velocities that a frozen teacher names; which ones, and where, is a subclass's matter.

    The student is the transformer of the run; it starts from `weights`, and draws with one branch. The teacher is in no
    checkpoint and no optimizer, and is read again when a run goes on. What a run leaves is a model folder like any
    other (`saved: model`) that says in its `model_index.json` how it is to be sampled.

    Args:
        teacher: Who is learned from.
        student: How the student is sampled: steps, and `text_scale: 1`. The other arguments are those of
            `FlowMatchingModule`; `drawing` may leave its sampling out, and has that of the student.

    Raises:
        SettingsError: If the student were to be drawn with guidance or with another solver than Euler's, or there is
            no teacher.
    """

    def __init__(  # noqa: PLR0913 (each is a key of the recipe)
        self,
        transformer: TransformerPart,
        text: TextPart,
        codec: CodecSource,
        objective: RectifiedFlowObjective,
        optimizer: OptimizerRecipe,
        schedule: LearningRate,
        teacher: Teacher,
        student: Sampling,
        weights: str | None = None,
        optimizer_state: str | None = None,
        drawing: Drawing | None = None,
        saved: Saved = "model",
        adapter: str | None = None,
    ) -> None:
        if weights is None:
            raise SettingsError("a student starts from a trained model", "set model.init_args.weights to its folder")
        if student.text_scale > 1 or student.solver != "euler":
            raise SettingsError(
                f"the student is sampled with text_scale {student.text_scale:g} and {student.solver}; it learns one "
                "branch and steps of Euler's solver",
                "write student: {steps: 4, text_scale: 1.0} or another number of steps",
            )
        sampling_config(student)  # refused before anything is trained
        own = Drawing(student) if drawing is None else replace(drawing, sampling=student)
        if drawing is not None and drawing.sampling not in (Sampling(), student):
            raise SettingsError(
                "drawing.sampling is another than that of the student",
                "leave drawing.sampling out of the recipe, or write what `student` says",
            )
        super().__init__(
            transformer, text, codec, objective, optimizer, schedule, weights, optimizer_state, own, saved, adapter
        )
        self.teacher = teacher
        self.student = student
        self._frozen: list[DiffusionTransformer] = []  # no submodule: neither trained nor saved
        self._negative: Tensor | None = None

    @property
    @abstractmethod
    def evaluations(self) -> Evaluations:
        """What a batch costs."""

    @abstractmethod
    def aim(self, lesson: Lesson) -> Aim:
        """What the student learns from a batch; called without gradients."""

    @override
    def configure_model(self) -> None:
        if self.transformer is not None:
            return
        super().configure_model()
        weights, part = (
            self.teacher.weights or self.weights,
            replace(self.part, lora=None, base="float32", checkpointing=()),
        )
        if self.teacher.weights is not None:
            part = replace(part, config=None, positions=None)
        with torch.random.fork_rng(devices=[]):
            self._frozen = [self.placed(part.build(weights).requires_grad_(False)).eval()]

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        generator = self.seeded(Stream.TRAINING_NOISE, self.trainer.fit_loop.total_batch_idx)
        lesson = self._lesson(batch, generator)
        self._shares.append(share_of_elements([lesson.data.numel()], lesson.data.device))
        out = self._regression(lesson, self._shares[0])
        self.time_bins = out.bins
        self.log("train/loss", out.loss.detach(), batch_size=len(batch))
        return out.loss

    @override
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Measure the same loss, with draws that depend on the batch's number alone."""
        lesson = self._lesson(batch, self.seeded(Stream.EVALUATION_NOISE, batch_idx))
        loss = self._regression(lesson, None).loss
        self.log("eval/loss", loss, batch_size=lesson.data.numel(), on_epoch=True, sync_dist=True)

    @override
    def batch_flops(self, batch: Batch) -> int:
        """Arithmetic of a training step; every branch of the teacher counts as the conditional one."""
        return self._with_teacher(super().batch_flops(batch), bool(batch.references))

    @override
    def flops_per_step(self) -> int | None:
        own = super().flops_per_step()
        return None if own is None else self._with_teacher(own, references=True)

    @override
    def save_weights(self, folder: Path) -> None:
        super().save_weights(folder)
        if self.saved == "model" and is_first_process():
            say_sampling(folder, self.student)

    def _lesson(self, batch: Batch, generator: torch.Generator) -> Lesson:
        inputs, data, owners, tokens = self.encoder(batch, generator)
        self._planned = (ref(batch), inputs.layout)
        if self._negative is None:
            self._negative = self.encoder.text.of_texts([""]).states
        frozen = self._frozen[0].to(self.device)
        samples = samples_of(inputs, self._negative, self.dit.config)
        guided = self.teacher.velocity(frozen, samples, owners, companion=self.trainer.world_size > 1)
        return Lesson(guided, self._velocity(inputs), data, owners, tokens, generator)

    def _with_teacher(self, flops: int, references: bool) -> int:
        teacher, student = self.evaluations
        return flops // FORWARDS * (FORWARDS + student + teacher * self.teacher.branches(references))

    def _regression(self, lesson: Lesson, elements: Tensor | None) -> FlowLoss:
        """The loss of the straight line through the aim's place."""
        with torch.no_grad():
            x_t, t, velocity = self.aim(lesson)
            noise = velocity_to_noise(velocity, x_t, t, lesson.sample_index)
            data = velocity_to_data(velocity, x_t, t, lesson.sample_index)
        return self.objective.at(lesson.student, noise, data, t, lesson.sample_index, elements)
