"""The three lessons: guidance in one branch, a few steps in place of many, and a flow map."""

from typing import Literal, TypeAlias, assert_never

import torch
from typing_extensions import override

from omnigen2.errors import check_choice
from omnigen2.flow import (
    EulerSolver,
    RectifiedFlowObjective,
    TimeShift,
    UniformTimes,
    draw_times_and_noise,
    interpolate,
    time_grid,
)
from omnigen2.generate import Sampling
from omnigen2.training.distillation.module import Aim, DistillationModule, Evaluations, Lesson
from omnigen2.training.distillation.targets import at_points, flow_map_velocity, followed_velocity, states_at_points
from omnigen2.training.distillation.teacher import Teacher
from omnigen2.training.flow_matching import Drawing, SettingsError, TextPart
from omnigen2.training.parts import CodecSource, LearningRate, OptimizerRecipe, Saved, TransformerPart

Starts: TypeAlias = Literal["student", "data"]
"""Where segments begin: where the student's own steps arrive, or on the line from noise to the batch's pictures."""


class GuidanceDistillation(DistillationModule):
    """One branch in place of two or three: the student learns the guided velocity, where a training would look.

    Args:
        objective: Times, shift, weighting. The other arguments are those of `DistillationModule`; of the teacher's
            sampling the scales count alone.

    Source: Meng et al., arXiv:2210.03142, section 3.1, at one scale in place of an input for it.
    """

    @property
    @override
    def evaluations(self) -> Evaluations:
        return Evaluations(teacher=1, student=0)

    @override
    def aim(self, lesson: Lesson) -> Aim:
        own, data, owners = self.objective, lesson.data, lesson.sample_index
        t, noise = draw_times_and_noise(own.sampler, own.shift, data, lesson.tokens, lesson.generator)
        x_t = interpolate(noise, data, t, owners)
        return Aim(x_t, t, lesson.teacher(x_t, t))


class StepDistillation(DistillationModule):
    """Few steps of one branch in place of many guided ones: each goes where the teacher's go in its stretch of time.

    Stretches are those between the student's times, and each holds equally many of the teacher's steps. What is learned
    at the beginning of a stretch is the mean velocity along the teacher's path to its end (`followed_velocity`), so the
    student needs to be right at a few times only. By default it begins where the student's own steps from the noise
    arrive: it learns to mend what its earlier steps have missed, and no pictures are looked at.

    Args:
        shift: Of the model; `student.time_shift` wins, and is that of the teacher's steps too.
        starts: Where stretches begin. The other arguments are those of `DistillationModule`; `teacher.sampling.steps`
            is a multiple of `student.steps`.

    Raises:
        SettingsError: If it is not.

    Source: the targets are those of PeRFlow, Yan et al., arXiv:2405.07510, section 3, learned at the stretches'
        beginnings alone; own starts as in Ross et al., arXiv:1011.0686 (DAgger).
    """

    def __init__(  # noqa: PLR0913 (each is a key of the recipe)
        self,
        transformer: TransformerPart,
        text: TextPart,
        codec: CodecSource,
        shift: TimeShift,
        optimizer: OptimizerRecipe,
        schedule: LearningRate,
        teacher: Teacher,
        student: Sampling,
        starts: Starts = "student",
        weights: str | None = None,
        optimizer_state: str | None = None,
        drawing: Drawing | None = None,
        saved: Saved = "model",
        adapter: str | None = None,
    ) -> None:
        check_choice("starts", starts, Starts)
        if teacher.sampling.steps % student.steps:
            raise SettingsError(
                f"the teacher has {teacher.sampling.steps} steps and the student {student.steps}, which do not meet",
                "give teacher.sampling.steps a multiple of student.steps",
            )
        objective = RectifiedFlowObjective(UniformTimes(), student.shift(shift))
        super().__init__(
            transformer, text, codec, objective, optimizer, schedule, teacher, student, weights, optimizer_state,
            drawing, saved, adapter,
        )  # fmt: skip
        self.shift = shift
        self.starts: Starts = starts

    @property
    @override
    def evaluations(self) -> Evaluations:
        inner = self.teacher.sampling.steps // self.student.steps
        each = 2 if self.teacher.sampling.solver == "heun" else 1
        return Evaluations(teacher=inner * each, student=self.student.steps - 1 if self.starts == "student" else 0)

    @override
    def aim(self, lesson: Lesson) -> Aim:
        steps, owners, noise = self.student.steps, lesson.sample_index, lesson.noise()
        inner = self.teacher.sampling.steps // steps
        fine = time_grid(self.teacher.sampling.steps, self.objective.shift, lesson.tokens)
        first = int(torch.randint(steps, (), generator=lesson.generator))
        order = torch.randperm(len(lesson.tokens), generator=lesson.generator)
        stretch = (first + order) % steps  # of each sample: all stretches equally often
        times = torch.stack([at_points(stretch * inner + one, fine) for one in range(inner + 1)])
        t = times[0].to(noise.device)
        match self.starts:
            case "student":
                visited = fine[: (steps - 1) * inner + 1 : inner]
                walked = EulerSolver().states(lesson.student, noise, visited, owners) if steps > 1 else ()
                x_t = states_at_points(stretch, [noise, *walked], owners)
            case "data":
                x_t = interpolate(noise, lesson.data, t, owners)
            case _:
                assert_never(self.starts)
        solver = self.teacher.sampling.make_solver()
        return Aim(x_t, t, followed_velocity(lesson.teacher, x_t, times, owners, solver))


class FlowMapDistillation(DistillationModule):
    """Few steps of one branch by MeanFlow's identity: the student's derivative in place of the teacher's many steps.

    The student learns, at any time, the mean guided velocity to the end of the stretch that the time lies in
    (`flow_map_velocity`), on lines from noise to the batch's pictures. A batch costs one evaluation of the teacher.

    Args:
        objective: Times, shift, weighting; `student.time_shift` wins. The other arguments are those of
            `DistillationModule`; of the teacher's sampling the scales count alone.

    Source: Geng et al., MeanFlow, arXiv:2505.13447, eq. 6; stretches as in Heek et al., Multistep Consistency Models,
        arXiv:2403.06807.
    """

    @property
    @override
    def evaluations(self) -> Evaluations:
        return Evaluations(teacher=1, student=2)

    @override
    def aim(self, lesson: Lesson) -> Aim:
        data, owners, shift = lesson.data, lesson.sample_index, self.student.shift(self.objective.shift)
        t, noise = draw_times_and_noise(self.objective.sampler, shift, data, lesson.tokens, lesson.generator)
        grid = time_grid(self.student.steps, shift, lesson.tokens)
        stretch = (t.cpu() >= grid[1:-1]).sum(0)
        end = at_points(stretch + 1, grid).to(t.device)
        x_t = interpolate(noise, data, t, owners)
        return Aim(x_t, t, flow_map_velocity(lesson.teacher, lesson.student, x_t, t, end, owners))
