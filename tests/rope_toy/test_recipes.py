from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
import yaml

from omnigen2.rope import LuminaPositions, OmniPositions, QwenPositions
from omnigen2.rope_toy.module import ToyModule
from omnigen2.rope_toy.report import ToyReport
from omnigen2.runner.plan import Plan
from omnigen2.training.callbacks.threads import Threads
from tests.paths import RECIPES
from tests.runner.recipes import planned

NAMES = ("rope_toy", "rope_toy_quick", "rope_toy_flow")
PAPER = {
    "lumina": (LuminaPositions(), False),
    "qwen": (QwenPositions(), False),
    "omni": (OmniPositions(), False),
    "omni_index": (OmniPositions(), True),
}
OURS = {
    "consecutive": (OmniPositions("consecutive"), False),
    "consecutive_index": (OmniPositions("consecutive"), True),
    "target_first": (OmniPositions("consecutive", "first"), False),
}


def plan(name: str, folder: Path, seeds: list[int]) -> Plan:
    return planned(f"--study.seeds={seeds}", files=[str(RECIPES / f"{name}.yaml")], folder=folder)


def test_the_papers_rows_are_the_same_in_all_recipes() -> None:
    studies: list[dict[str, Any]] = [yaml.safe_load((RECIPES / f"{n}.yaml").read_text())["study"] for n in NAMES]
    assert list(studies[0]["rows"]) == [*PAPER, *OURS]
    for study in studies[1:]:
        assert study["rows"] == {name: studies[0]["rows"][name] for name in PAPER}
        assert study["report"] == studies[0]["report"]


@pytest.mark.parametrize("name", NAMES)
def test_every_row_builds_the_model_that_it_names(name: str, tmp_path: Path) -> None:
    made = plan(name, tmp_path, [7])
    expected = PAPER | OURS if name == "rope_toy" else PAPER
    assert isinstance(made.report, ToyReport)
    assert [row.name for row in made.rows] == list(expected)
    for row, (positions, image_index) in expected.items():
        config = made.cells[row, 7][row].config
        trainer, module, _ = config.build(lambda callbacks, loggers: {"logger": False, "callbacks": callbacks})
        assert isinstance(module, ToyModule)
        assert module.model.dit.positions == positions
        assert (module.model.dit.reference_index is not None) == image_index
        assert module.objective == ("flow" if name == "rope_toy_flow" else "reconstruction")
        data = config.values["data"]["init_args"]
        assert data["seed"] == config.seed == 7
        assert data["task"] == config.values["model"]["init_args"]["task"]
        assert data["steps"] % config.values["trainer"]["val_check_interval"] == 0
        assert any(isinstance(callback, Threads) for callback in trainer.callbacks)


def test_threads_are_set_and_set_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    callback, module = Threads(1), L.LightningModule()
    trainer = L.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    callback.setup(trainer, module, "fit")
    assert torch.get_num_threads() == 1
    callback.teardown(trainer, module, "fit")
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    with pytest.raises(ValueError, match="got 0"):
        Threads(0)
