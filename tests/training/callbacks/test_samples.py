"""Sheets appear when they should, can be read, and leave training as it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import Callback, Trainer
from PIL import Image
from torch import Tensor, nn

from omnigen2.files.text import read_json
from omnigen2.training.callbacks.ema import EMA
from omnigen2.training.callbacks.samples import GridItem, SampleGrid, save_grid
from omnigen2.training.callbacks.throughput import Throughput
from omnigen2.training.parts.loader import StepLoader
from tests.training.callbacks.parts import Line
from tests.training.rank_parts import silent_trainer

PROMPT = "a red circle to the left of two green squares, costs $5 or $6, on a plain background " * 2


def picture(value: float, size: int = 16) -> Tensor:
    return torch.full((3, size, size), value)


class Net(Line):
    """Draws with dropout and random numbers, which must not reach training."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.frozen = nn.Dropout(0.5).eval()
        self.dropout = nn.Dropout(0.5)
        self.seen: list[tuple[bool, bool, float]] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return (self.dropout(self.linear(batch)) + torch.rand(()) + np.random.rand()).square().mean()

    def sample_grid(self, trainer: Trainer) -> Sequence[GridItem]:
        self.seen.append((self.training, torch.is_grad_enabled(), self.linear.bias.item()))
        torch.rand(5), np.random.rand(5)
        return [GridItem("a cube", picture(torch.rand(()).item()), passed=True)]


def fit(folder: Path, *callbacks: Callback, steps: int = 6, module: Any = None, **more: Any) -> Any:
    module = module or Net()
    torch.manual_seed(1)
    np.random.seed(1)
    trainer = silent_trainer(folder, steps, *callbacks, **more)
    trainer.fit(module, StepLoader(lambda step: torch.ones(4, 3), 100))
    return module


@given(st.integers(1, 7), st.integers(1, 5), st.integers(1, 2))
def test_sheets_come_at_their_steps_and_at_the_end(
    tmp_path_factory: pytest.TempPathFactory, steps: int, every: int, accumulate: int
) -> None:
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        drawn: list[int] = []
        patch.setattr("omnigen2.training.callbacks.samples.save_grid", lambda folder, step, items: drawn.append(step))
        fit(folder, SampleGrid(every), steps=steps, accumulate_grad_batches=accumulate)
    assert drawn == sorted({*range(every, steps + 1, every), steps})


def test_drawing_does_not_change_training(tmp_path: Path) -> None:
    plain, watched = fit(tmp_path), fit(tmp_path, SampleGrid(2))
    assert torch.equal(plain.linear.weight, watched.linear.weight)
    assert [seen[:2] for seen in watched.seen] == [(False, False)] * 3
    assert watched.dropout.training
    assert not watched.frozen.training


def test_averaged_weights_draw_where_there_are_some(tmp_path: Path) -> None:
    ema = EMA(decay=0.9)
    module = fit(tmp_path, ema, SampleGrid(100))
    assert module.seen[-1][2] != module.linear.bias.item()
    with ema.applied(module):
        assert module.seen[-1][2] == module.linear.bias.item()


def test_drawing_takes_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("omnigen2.training.callbacks.throughput.perf_counter", lambda: now[0])

    class Slow(Net):
        def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
            now[0] += 1.0
            return super().training_step(batch, batch_idx)

        def sample_grid(self, trainer: Trainer) -> Sequence[GridItem]:
            now[0] += 100.0
            return super().sample_grid(trainer)

    for order in (1, -1):
        reports: list[dict[str, float]] = []
        monkeypatch.setattr(
            "omnigen2.training.callbacks.throughput.log_now",
            lambda trainer, metrics: reports.append(metrics),  # noqa: B023
        )
        fit(tmp_path, *[SampleGrid(2), Throughput(every_n_steps=3)][::order], module=Slow())
        assert [report["throughput/seconds_per_step"] for report in reports] == [1.0, 1.0]


def test_a_sheet_has_the_pictures_and_the_words(tmp_path: Path) -> None:
    items = [
        GridItem(PROMPT, picture(1.0), (picture(-1.0), picture(0.0, 24)), picture(0.5), "too few squares", False),
        GridItem("", picture(-0.5)),
    ]
    save_grid(tmp_path / "samples", 7, items)
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["step_7.json", "step_7.png"]
    written = read_json(tmp_path / "samples" / "step_7.json")
    assert written == {
        "step": 7,
        "items": [
            {"prompt": PROMPT, "references": 2, "target": True, "verdict": "too few squares", "passed": False},
            {"prompt": "", "references": 0, "target": False, "verdict": "", "passed": None},
        ],
    }
    pixels = np.asarray(Image.open(tmp_path / "samples" / "step_7.png").convert("RGB")).reshape(-1, 3)
    colours, counts = np.unique(pixels, axis=0, return_counts=True)
    large = {int(colour[0]) for colour, count in zip(colours, counts, strict=True) if count > 10_000}
    assert {0, 128, 191, 255, 64} <= large | {value + 1 for value in large}


def test_a_run_writes_its_sheets_also_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from lightning.pytorch.loggers import TensorBoardLogger

    logger = TensorBoardLogger(tmp_path, name="", version="")
    images: list[Any] = []
    logger.experiment.add_image = lambda *arguments, **more: images.append((*arguments, more))  # type: ignore[method-assign]
    fit(tmp_path, SampleGrid(4), logger=logger)
    assert [(image[0], image[1].ndim, image[2]) for image in images] == [("samples", 3, 4), ("samples", 3, 6)]
    assert (tmp_path / "samples" / "step_6.png").is_file()


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"a module with sample_grid\(trainer\), got Line; add the method"):
        fit(tmp_path, SampleGrid(1), module=Line())
    with pytest.raises(ValueError, match="every_n_steps must be at least 1, got 0"):
        SampleGrid(0)
    with pytest.raises(ValueError, match="returned no samples; return at least one"):
        save_grid(tmp_path, 1, [])
