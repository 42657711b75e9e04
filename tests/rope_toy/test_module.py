from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.dit.variants import TOY
from omnigen2.rope import LuminaPositions, OmniPositions, PositionScheme, QwenPositions
from omnigen2.rope_toy.data import EVALUATIONS, ToyData
from omnigen2.rope_toy.model import CopyModel
from omnigen2.rope_toy.module import Objective, ToyModule
from omnigen2.rope_toy.samples import answers, load_answers, richest, save_answers
from omnigen2.rope_toy.sources import PlaneWaves
from omnigen2.rope_toy.task import CopyTask
from omnigen2.runner.keep.metrics import CsvLogger, read_metrics
from omnigen2.training.parts import AdamWRecipe, WarmupCosine
from tests.training.rank_parts import silent_trainer

TASK = CopyTask()
SMALL = CopyTask(references=(2,), sides=(1, 2))
OBJECTIVES: tuple[Objective, ...] = ("reconstruction", "flow")


def data(steps: int, task: CopyTask = TASK, size: int = 4) -> ToyData:
    return ToyData(PlaneWaves(), task, seed=0, steps=steps, batch_size=size, evaluation_size=8)


def toy(task: CopyTask = TASK, warmup_steps: int = 100, **options: Any) -> ToyModule:
    optimizer = AdamWRecipe(4e-3, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    return ToyModule(OmniPositions(), task, optimizer, WarmupCosine(warmup_steps), **options)


class SaveAt(L.Callback):
    """Saves a checkpoint after one step."""

    def __init__(self, step: int, file: Path) -> None:
        self.step, self.file = step, file

    def on_train_batch_end(self, trainer: L.Trainer, *args: object) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.file)


def trained(
    module: ToyModule, source: ToyData, folder: Path, every: int, *callbacks: L.Callback, start: Path | None = None
) -> None:
    folder.mkdir(exist_ok=True)
    settings = {"val_check_interval": every, "gradient_clip_val": 1.0, "log_every_n_steps": 1}
    trainer = silent_trainer(folder, source.loader.steps, *callbacks, logger=CsvLogger(folder), **settings)
    trainer.fit(module, datamodule=source, ckpt_path=start, weights_only=True)


@pytest.mark.parametrize("positions", [OmniPositions(), OmniPositions("consecutive", "first"), QwenPositions()])
@pytest.mark.parametrize("image_index", [False, True])
def test_models_of_one_seed_share_all_weights_but_the_index_embedding(
    positions: PositionScheme, image_index: bool
) -> None:
    def weights(positions: PositionScheme, image_index: bool) -> dict[str, torch.Tensor]:
        torch.manual_seed(3)
        return CopyModel(TASK, TOY, positions, image_index).state_dict()

    first, other = weights(LuminaPositions(), False), weights(positions, image_index)
    assert set(other) - set(first) == ({"dit.reference_index.weight"} if image_index else set())
    assert all(torch.equal(value, other[name]) for name, value in first.items())
    if image_index:
        assert other["dit.reference_index.weight"].shape[0] == 4


def test_the_text_differs_between_questions_in_its_last_token_only() -> None:
    model = CopyModel(TASK, TOY, OmniPositions())
    text = model.text(torch.tensor([0, 2, 0])).unflatten(0, (3, 4))
    assert torch.equal(text[0], text[2])
    assert torch.equal(text[0, :3], text[1, :3])
    assert not torch.equal(text[0, 3], text[1, 3])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_few_steps_of_training_reduce_the_loss(objective: Objective, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = toy(SMALL, 10, objective=objective, sample_steps=(40,))
    trained(module, data(120, SMALL, size=16), tmp_path, every=40)
    rows = read_metrics(tmp_path)
    losses = {int(row["step"]): row["eval/loss"] for row in rows if "eval/loss" in row}
    assert list(losses) == [40, 80, 120]
    train = [row["train/loss"] for row in rows if "train/loss" in row]
    assert sum(train[-20:]) < 0.75 * sum(train[:20])
    assert losses[120] < 0.9 * losses[40]
    ends = [[name for name in EVALUATIONS[1:] if name in row] for row in rows if "eval/loss" in row]
    assert ends == [[], [], list(EVALUATIONS[1:])]
    kept = {file.name: load_answers(file) for file in (tmp_path / "samples").iterdir()}
    assert sorted(kept) == ["step_000040.safetensors", "step_000120.safetensors"]
    first, last = kept["step_000040.safetensors"], kept["step_000120.safetensors"]
    assert all(torch.equal(a.target, b.target) and a.asked == b.asked for a, b in zip(first, last, strict=True))
    assert not torch.equal(first[0].answer, last[0].answer)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_run_that_goes_on_from_a_checkpoint_ends_with_the_same_weights(objective: Objective, tmp_path: Path) -> None:
    def ended(seed: int, folder: Path, *callbacks: L.Callback, start: Path | None = None) -> dict[str, torch.Tensor]:
        torch.manual_seed(seed)
        module = toy(SMALL, 2, objective=objective, image_index=True)
        trained(module, data(8, SMALL), folder, 4, *callbacks, start=start)
        return module.state_dict()

    file = tmp_path / "at_5.ckpt"
    whole = ended(0, tmp_path / "whole", SaveAt(5, file))
    resumed = ended(1, tmp_path / "resumed", start=file)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_training_uses_no_global_randomness(objective: Objective) -> None:
    torch.manual_seed(0)
    module = toy(objective=objective)
    for value in module.parameters():
        torch.nn.init.normal_(value, std=0.1)
    module.log = lambda *args, **kwargs: None  # type: ignore[method-assign]
    batch = data(1).training_batch(0)
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append((module.training_step(batch, 0).detach(), module.answer(batch).detach()))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_the_error_is_the_mean_over_samples_of_each_samples_mean() -> None:
    module, batch = toy(), data(1).training_batch(0)
    answer = torch.randn(batch.target.shape)
    pairs = zip(*(t.split(list(batch.layout.segments("target").lengths)) for t in (answer, batch.target)), strict=True)
    per_sample = [(a - b).square().mean() for a, b in pairs]
    torch.testing.assert_close(module.error(answer, batch), torch.stack(per_sample).mean())
    assert module.error(batch.target, batch) == 0


def test_an_untrained_model_answers_grey() -> None:
    module, batch = toy(), data(1).training_batch(0)
    assert module.answer(batch).abs().max() == 0


@given(seed=st.integers(0, 2**31), samples=st.integers(1, 4))
def test_law_answers_are_kept_exactly(seed: int, samples: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    batch = TASK.batch(PlaneWaves(), "train", samples, (seed,))
    found = answers(batch, batch.target, patch_size=2)
    file = tmp_path_factory.mktemp("answers") / "deep" / "file.safetensors"
    save_answers(found, file)
    for before, after in zip(found, load_answers(file), strict=True):
        assert before.asked == after.asked
        assert torch.equal(before.answer, before.references[before.asked])
        for a, b in zip((*before.references, before.answer), (*after.references, after.answer), strict=True):
            assert torch.equal(a, b)


def test_the_richest_questions_do_not_depend_on_the_answers() -> None:
    batch = TASK.batch(PlaneWaves(), "train", 10, (0,))
    good = richest(answers(batch, batch.target, 2), 3)
    bad = richest(answers(batch, torch.zeros_like(batch.target), 2), 3)
    assert all(torch.equal(a.target, b.target) for a, b in zip(good, bad, strict=True))


def test_steps_without_a_final_evaluation_are_refused(tmp_path: Path) -> None:
    module = toy(SMALL)
    with pytest.raises(ValueError, match=r"max_steps \(7\) must be a multiple of .*\(3\)"):
        trained(module, data(7, SMALL), tmp_path, every=3)


def test_a_trainer_without_a_number_of_steps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"set trainer\.max_steps"):
        silent_trainer(Path(), -1, max_epochs=1).fit(toy(SMALL), datamodule=data(2, SMALL))


def test_bad_arguments_are_refused_with_the_values() -> None:
    with pytest.raises(ValueError, match="sampling_steps of at least 1, got 0"):
        toy(sampling_steps=0)
    with pytest.raises(ValueError, match=r"patches of 3.*patch_size=2"):
        toy(CopyTask(patch_size=3))
