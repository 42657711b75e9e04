"""A flow training by its real recipe, killed and continued: same losses, weights, scores and samples."""

import shutil
import tempfile
from pathlib import Path

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from omnigen2.microworld.runs import PICTURES, SCORES
from omnigen2.runner.plan import Config, parse
from tests.paths import ROOT
from tests.runner.recipes import checkpoints_every
from tests.runner.runs import in_child
from tests.runner.toy_parts import Kill

RECIPE = ROOT / "recipes" / "micro" / "pretrain_16_t2i.yaml"
SMALL = {
    "hidden_size": 24, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1, "axes": [4, 4, 4], "multiple_of": 8,
}  # fmt: skip
HOOKS = ("on_train_batch_start", "on_before_optimizer_step", "on_save_checkpoint")
SAME = ("metrics.csv", SCORES, "samples/step_6.json", "weights/transformer/config.json")


def small_recipe(folder: Path) -> Config:
    """The recipe with a small model, small batches of mixed tasks and six steps."""
    recipe = yaml.safe_load(RECIPE.read_text())
    callbacks = [
        callback for callback in recipe["trainer"]["callbacks"] if not callback["class_path"].endswith("Throughput")
    ]
    by_name = {callback["class_path"].rpartition(".")[2]: callback["init_args"] for callback in callbacks[:1]}
    assert by_name.keys() == {"Threads"}
    for callback in callbacks:
        if callback["class_path"].endswith("MicroEvaluation"):
            callback["init_args"] = {"per_kind": 1, "shown": 1}
        if callback["class_path"].endswith("SampleGrid"):
            callback["init_args"] = {"every_n_steps": 3}
    recipe["trainer"] |= {
        "max_steps": 6, "log_every_n_steps": 1, "val_check_interval": 3, "logger": False,
        "callbacks": [*callbacks, *checkpoints_every(2)["trainer"]["callbacks"]],
    }  # fmt: skip
    arguments = recipe["model"]["init_args"]
    arguments["transformer"]["config"] |= SMALL
    arguments["text"]["encoder"] = {"class_path": "omnigen2.microworld.runs.RandomMicroVLM"}
    arguments["drawing"]["sampling"] = {"steps": 2, "text_scale": 2.0}
    recipe["data"]["init_args"] |= {
        "steps": 6, "batch_size": 4, "validation": 1, "families": {"text_to_image": 1, "edit": 1},
    }  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return parse([f"--config={path}"], (path,))


def outcome(folder: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    weights = load_file(folder / "weights" / "transformer" / "diffusion_pytorch_model.safetensors")
    files = {name: (folder / name).read_bytes() for name in (*SAME, PICTURES, "samples/step_6.png")}
    return files, {name: value.numpy().tobytes() for name, value in weights.items()}


def test_killed_and_continued_equals_uninterrupted(tmp_path: Path) -> None:
    config = small_recipe(tmp_path)
    assert in_child(config, tmp_path / "whole", None) == 0
    whole = outcome(tmp_path / "whole")

    @settings(max_examples=5, deadline=None)
    @given(st.sampled_from(HOOKS), st.integers(1, 6))
    @example("on_train_end", 1)
    def law(hook: str, count: int) -> None:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        assert in_child(config, folder, Kill(hook, count)) in (0, 9)
        assert in_child(config, folder, None) == 0
        assert outcome(folder) == whole
        shutil.rmtree(folder)

    law()
