"""Writes small recipes with stages for the tests, and says what is in a folder."""

from pathlib import Path
from typing import Any

import torch
import yaml

from omnigen2.runner.plan import Run
from omnigen2.runner.recipe import Document
from tests.runner.recipes import checkpoints_every, planned, write

PARTS = "tests.runner.stage_parts"
PLAIN: Document = {
    "seed_everything": 3,
    "trainer": {
        "accelerator": "cpu",
        "logger": False,
        "max_steps": 4,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        **checkpoints_every(1)["trainer"],
    },
    "model": {"class_path": f"{PARTS}.Linear"},
    "data": {"class_path": f"{PARTS}.Steps"},
}
STAGES: Document = {
    "a": {"recipe": "parts/plain.yaml"},
    "b": {"recipe": "parts/plain.yaml", "overrides": {"data.init_args.first": 4, "trainer": {"max_steps": 3}}},
    "c": {"recipe": "parts/plain.yaml", "start": "a", "optimizer": "carried"},
}
RUNS = Path("runs/stages")


def write_stages(stages: Document = STAGES, **others: Any) -> Path:
    """Write `stages.yaml`, and the recipe that its stages name."""
    Path("parts").mkdir(exist_ok=True)
    write(Path("parts/plain.yaml"), PLAIN)
    Path("stages.yaml").write_text(yaml.safe_dump({"stages": stages} | others, sort_keys=False))
    return Path("stages.yaml")


def stages(*options: str, file: str = "stages.yaml", folder: Path = RUNS) -> list[Run]:
    """Plan a recipe with stages."""
    (cell,) = planned(*options, files=[file], folder=folder).cells.values()
    return list(cell.values())


def weights(folder: Path) -> dict[str, list[float]]:
    """What a run has handed over."""
    state = torch.load(folder / "weights/linear.pt", weights_only=True)
    return {name: value.flatten().tolist() for name, value in state.items()}
