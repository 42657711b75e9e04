"""Students: what they aim at, a teacher that stays out of everything, and a folder that says how to draw."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback
from PIL import Image
from torch import Tensor

from omnigen2.adapters import ATTENTION, LoRA
from omnigen2.cli import main
from omnigen2.dit import patchify
from omnigen2.errors import UserError
from omnigen2.flow import IdentityShift, RectifiedFlowObjective, UniformTimes, interpolate
from omnigen2.generate import Generator, Sampling, denoise
from omnigen2.pictures import to_pixels
from omnigen2.runner.keep import attach
from omnigen2.training.distillation import (
    FlowMapDistillation,
    GuidanceDistillation,
    Lesson,
    StepDistillation,
    Teacher,
)
from omnigen2.training.flow_matching import Drawing, TextPart
from omnigen2.training.parts import DCT, AdamWRecipe, TransformerPart, WarmupConstant
from tests.training.flow_parts import module, trainer, wake, world

GUIDED = Sampling(steps=8, text_scale=3.0, image_scale=2.0)
FEW = Sampling(steps=4, text_scale=1.0)
OWNERS = torch.tensor([0, 0, 1, 1, 1])
METHODS = (GuidanceDistillation, StepDistillation, FlowMapDistillation)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that draws something, to learn from."""
    folder = tmp_path_factory.mktemp("base")
    model = wake(module(saved="model"))
    attach(trainer(folder, 1), model, world())
    model.save_weights(folder / "weights")
    return str(folder / "weights")


def student(base: str | None, kind: type[Any] = StepDistillation, **settings: Any) -> Any:
    torch.manual_seed(0)
    part = settings.pop("transformer", TransformerPart())
    how = {"teacher": Teacher(GUIDED), "student": FEW} | settings
    shift = IdentityShift()
    where = (
        {"shift": shift} if kind is StepDistillation else {"objective": RectifiedFlowObjective(UniformTimes(), shift)}
    )
    text = module().text_part
    return kind(
        transformer=part,
        text=TextPart(text.encoder, text.bridge, remembered=1000),
        codec=DCT(2),
        optimizer=AdamWRecipe(lr=3e-3),
        schedule=WarmupConstant(0),
        weights=base,
        **where,
        **how,
    )


def lesson(teacher: Any, own: Any, seed: int = 0) -> Lesson:
    data = torch.randn(5, 4, generator=torch.Generator().manual_seed(7))
    return Lesson(teacher, own, data, OWNERS, (2, 3), torch.Generator().manual_seed(seed))


def state(model: Any) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.dit.state_dict().items()}


def fit(base: str, folder: Path, steps: int = 2, kind: type[Any] = StepDistillation, **settings: Any) -> Any:
    model = student(base, kind, **settings)
    trainer(folder, steps).fit(model, datamodule=world(steps=steps, dropout=None))
    return model


def test_steps_begin_where_the_student_arrives_and_every_stretch_is_learned(base: str) -> None:
    still = lambda x_t, t: torch.zeros_like(x_t)  # noqa: E731
    moves = lambda x_t, t: torch.ones_like(x_t)  # noqa: E731
    seen: set[float] = set()
    for seed in range(8):
        aim = student(base).aim(lesson(still, moves, seed))
        start = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
        torch.testing.assert_close(aim.x_t, start + aim.t[OWNERS][:, None])  # one unit of time, one of length
        assert not aim.velocity.any()
        assert aim.t[0] != aim.t[1]  # of neighbouring stretches
        seen |= set(aim.t.tolist())
    assert seen == {0.0, 0.25, 0.5, 0.75}


@pytest.mark.parametrize("kind", METHODS)
def test_a_student_that_is_the_teacher_has_nothing_to_learn_on_straight_paths(kind: type[Any], base: str) -> None:
    goal = torch.randn(5, 4, generator=torch.Generator().manual_seed(7))  # the data of the lesson
    straight = lambda x_t, t: (goal - x_t) / (1 - t[OWNERS][:, None]).clamp(min=1e-3)  # noqa: E731
    for seed in range(4):
        aim = student(base, kind).aim(lesson(straight, straight, seed))
        torch.testing.assert_close(straight(aim.x_t, aim.t), aim.velocity, atol=0.02, rtol=0.02)


def test_data_starts_and_flow_maps_look_at_the_line_to_the_pictures(base: str) -> None:
    still = lambda x_t, t: torch.zeros_like(x_t)  # noqa: E731
    for model in (
        student(base, starts="data"),
        student(base, FlowMapDistillation),
        student(base, GuidanceDistillation),
    ):
        given = lesson(still, still)
        x_t, t, _ = model.aim(given)
        noise = (x_t - t[OWNERS][:, None] * given.data) / (1 - t[OWNERS][:, None])
        torch.testing.assert_close(interpolate(noise, given.data, t, OWNERS), x_t)
        assert 0.3 < noise.std() < 2
        assert not torch.allclose(x_t, given.data)


@pytest.mark.parametrize("kind", METHODS)
def test_the_teacher_stays_out_of_everything(kind: type[Any], base: str, tmp_path: Path) -> None:
    model, run = student(base, kind), trainer(tmp_path, 3)
    losses: list[float] = []
    watch = LambdaCallback(on_train_batch_end=lambda trainer, model, outputs, *_: losses.append(float(outputs["loss"])))
    run.callbacks.append(watch)  # pyright: ignore[reportAttributeAccessIssue]
    run.fit(model, datamodule=world(steps=3, dropout=None))
    (frozen,) = model._frozen
    start = Generator.from_folder(base).transformer.state_dict()
    assert all(torch.equal(value, start[name]) for name, value in frozen.state_dict().items())
    assert any(not torch.equal(value, start[name]) for name, value in state(model).items())
    assert all(value.grad is None and not value.requires_grad for value in frozen.parameters())
    assert set(map(id, frozen.parameters())).isdisjoint(map(id, model.parameters()))
    run.save_checkpoint(tmp_path / "now.ckpt")
    kept = torch.load(tmp_path / "now.ckpt", weights_only=True)["state_dict"]
    assert set(kept) == {f"transformer.{name}" for name in start}
    assert len(losses) == 3
    assert all(loss > 0 for loss in losses)


def test_the_teachers_velocity_is_that_which_people_draw_with(base: str, tmp_path: Path) -> None:
    model = student(base, teacher=Teacher(Sampling(steps=4, text_scale=3.0, image_scale=2.0)))
    attach(trainer(tmp_path, 1), model, world())
    model.configure_model()
    batch = world(batch_size=6, dropout=None).batch(0)
    assert {len(example.references) for example in batch.examples} >= {0, 1}
    made = model._lesson(batch, torch.Generator().manual_seed(3))
    samples = model.encoder.samples(batch.examples, 5)
    guided = model.teacher.sampling
    latents, side = denoise(model._frozen[0], samples, guided, IdentityShift()), model.dit.config.patch_size
    x_t = torch.cat([patchify(sample.noise, side) for sample in samples])
    for step in range(4):
        t = torch.full((len(batch),), step / 4)
        x_t = x_t + made.teacher(x_t, t) / 4
    torch.testing.assert_close(x_t, torch.cat([patchify(one, side) for one in latents]), atol=1e-4, rtol=1e-4)


def test_the_folder_of_a_student_is_drawn_with_as_it_says(base: str, tmp_path: Path) -> None:
    model = fit(base, tmp_path, student=Sampling(steps=4, text_scale=1.0, time_shift=2.0))
    model.save_weights(tmp_path / "weights")
    said = json.loads((tmp_path / "weights/model_index.json").read_text())["sampling"]
    assert said == {"steps": 4, "text_scale": 1.0, "time_shift": 2.0}
    generator = Generator.from_folder(tmp_path / "weights")
    example = next(e for e in world().validation_batch().examples if e.task == "text_to_image")
    (picture,) = model.draw([example])
    result = generator(example.instruction, height=16, width=16, seed=0)
    seen = torch.tensor(list(result.images[0].tobytes())).reshape(16, 16, 3).permute(2, 0, 1)
    assert (((picture + 1) * 127.5).round() - seen).abs().max() <= 1
    assert result.pictures[0].sampling == Sampling(steps=4, text_scale=1.0, time_shift=2.0)
    asked = generator(example.instruction, height=16, width=16, seed=0, steps=2).pictures[0]
    assert asked.sampling == Sampling(steps=2, text_scale=1.0, time_shift=2.0)


def test_a_run_that_goes_on_is_the_run_that_was_never_stopped(base: str, tmp_path: Path) -> None:
    whole = state(fit(base, tmp_path, 3))
    half = student(base)
    run = trainer(tmp_path, 3, LambdaCallback(on_train_batch_end=lambda t, *_: _keep(t, tmp_path / "half.ckpt")))
    run.fit(half, datamodule=world(steps=3, dropout=None))
    again = student(base)
    trainer(tmp_path, 3).fit(
        again, datamodule=world(steps=3, dropout=None), ckpt_path=tmp_path / "half.ckpt", weights_only=False
    )
    assert all(torch.equal(value, whole[name]) for name, value in state(again).items())


def _keep(run: Any, path: Path) -> None:
    if run.global_step == 1:
        run.save_checkpoint(path)


class Fitted(torch.nn.Module):
    """A velocity that is a straight function of the state, another one at each of the student's times."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = torch.nn.Parameter(torch.zeros(4))
        self.height = torch.nn.Parameter(torch.zeros(4, 4))

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        stretch = (t * 4).long().clamp(max=3)
        return self.slope[stretch][:, None] * x_t + self.height[stretch]


@pytest.mark.parametrize("scale", [1.5, 3.0])
@pytest.mark.parametrize("kind", [GuidanceDistillation, StepDistillation])
def test_training_reaches_the_closed_form_of_what_is_guided(kind: type[Any], scale: float, base: str) -> None:
    given, asked = 0.5, torch.tensor([0.5, -0.5, 0.25, 1.0])  # branches: given * x, and what the text adds
    sampling, owners = Sampling(steps=8, text_scale=scale), torch.arange(64)
    model, guidance, own = student(base, kind, teacher=Teacher(sampling)), sampling.guidance(False), Fitted()
    assert guidance is not None
    data = torch.randn(64, 4, generator=torch.Generator().manual_seed(7))

    def branches(x_t: Tensor, t: Tensor) -> Tensor:
        return given * x_t + torch.where((torch.arange(len(x_t)) < 64)[:, None], asked, 0)  # the first is conditional

    def loss(seed: int) -> float:
        own.zero_grad()
        drawn = torch.Generator().manual_seed(seed)
        taught = Lesson(guidance(branches, owners), own, data, owners, (1,) * 64, drawn)
        found = model._regression(taught, None).loss
        found.backward()
        return float(found.detach())

    for step in range(5):
        torch.optim.LBFGS(own.parameters(), max_iter=8).step(lambda step=step: loss(step))
    # the guided velocity; or its mean over two steps of the teacher, g x + a -> (1 + g / 16) (g x + a)
    grown = 1.0 if kind is GuidanceDistillation else 1 + given / 16
    torch.testing.assert_close(own.slope.detach(), torch.full((4,), given * grown), atol=0.01, rtol=0)
    torch.testing.assert_close(own.height.detach(), (scale * asked * grown).expand(4, 4), atol=0.01, rtol=0.01)


def test_an_adapter_that_learned_few_steps_draws_as_it_is_told_to(base: str, tmp_path: Path) -> None:
    part = TransformerPart(lora=LoRA(rank=2, targets=ATTENTION))
    model = fit(base, tmp_path, transformer=part, saved="transformer")
    with torch.no_grad():
        for name, value in model.dit.named_parameters():
            value.mul_(100 if ".lora_B." in name else 1)  # two steps are few
    model.save_weights(tmp_path)
    (frozen,) = model._frozen
    start = Generator.from_folder(base).transformer.state_dict()
    assert all(torch.equal(value, start[name]) for name, value in frozen.state_dict().items())  # without the adapter
    generator = Generator.from_folder(base)
    assert generator.sampling == Sampling()  # nobody says that it is a student
    example = next(e for e in world().validation_batch().examples if e.task == "text_to_image")
    asked = {"height": 16, "width": 16, "seed": 0}
    plain = generator(example.instruction, **asked, steps=4, text_scale=1.0).images[0]
    out = tmp_path / "out.png"
    words = ["generate", "--model", base, "--lora", str(tmp_path / "adapter"), "--prompt", example.instruction]
    words += ["--height", "16", "--width", "16", "--seed", "0", "--out", str(out), "--device", "cpu"]
    assert main([*words, "--dtype", "float32", "--steps", "4", "--text_scale", "1"]) == 0
    drawn = to_pixels(Image.open(out))
    (picture,) = model.draw([example])
    assert (picture - drawn).abs().max() <= 1.01 / 127.5
    assert (picture - to_pixels(plain)).abs().max() > 4 / 127.5  # the adapter did something


def test_the_arithmetic_of_the_teacher_is_counted(base: str, tmp_path: Path) -> None:
    model, plain, batch = student(base), module(weights=base), world().batch(0)
    for one in (model, plain):
        attach(trainer(tmp_path, 1), one, world())
        one.configure_model()
    # a student's 3 passes and 3 steps from the noise, and 2 teacher's steps of 3 branches
    assert model.batch_flops(batch) == plain.batch_flops(batch) // 3 * (3 + 3 + 2 * 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"student": Sampling(steps=4)}, "the student is sampled with text_scale 4 and euler"),
        ({"student": Sampling(steps=4, text_scale=1.0, solver="heun")}, "text_scale 1 and heun"),
        (
            {"student": Sampling(steps=3, text_scale=1.0)},
            "8 steps and the student 3, which do not meet",
        ),
        ({"student": Sampling(text_scale=1.0, steps=4, guidance_interval=(0, 0.5))}, "cannot say guidance_interval"),
        ({"drawing": Drawing(Sampling(steps=9))}, "drawing.sampling is another than that of the student"),
    ],
)
def test_what_does_not_go_together_is_refused_when_it_is_built(settings: dict, message: str, base: str) -> None:
    with pytest.raises(UserError, match=message):
        student(base, **settings)


def test_a_teacher_must_be_whole() -> None:
    with pytest.raises(UserError, match="guidance_interval is .* guides everywhere"):
        Teacher(Sampling(guidance_interval=(0.0, 0.6)))
    with pytest.raises(UserError, match="time_shift"):
        Teacher(Sampling(time_shift=3.0))
    for reuse in (Sampling(cache="forecast"), Sampling(guidance_every=2)):
        with pytest.raises(UserError, match="a teacher computes each"):
            Teacher(reuse)
    with pytest.raises(UserError, match="a student starts from a trained model"):
        student(None)
