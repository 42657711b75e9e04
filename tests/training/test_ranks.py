"""Two processes equal one: losses, gradients, clipping, averages, adapters, checkpoints, resumed runs."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

from omnigen2.adapters import (
    LoRA,
    adapter_state,
    adapters_disabled,
    is_adapter,
    load_adapter_state,
    load_lora,
    save_lora,
)
from omnigen2.dit import Inputs
from omnigen2.generate.tiny import tiny_transformer
from omnigen2.runner.keep.resume import ResumePoint, committed_checkpoint
from omnigen2.runner.keep.state import of_all_processes
from omnigen2.runner.plan import parse
from omnigen2.training.parts.parallel import compile_blocks, shard_transformer
from tests.runner.recipes import PLAIN, checkpoints_every, write
from tests.runner.runs import run_with
from tests.runner.toy_parts import Kill
from tests.training.rank_parts import FlowNet, Launcher, example, gradients_of, loader, outcome, trainer

RANK = 4
PARTS = "tests.training.rank_parts"
AVERAGE = {"class_path": "omnigen2.training.callbacks.EMA", "init_args": {"decay": 0.5}}
RECIPE: dict[str, Any] = {
    "seed_everything": 3,
    "trainer": PLAIN["trainer"] | {"devices": 2, "val_check_interval": 2},
    "model": {"class_path": f"{PARTS}.FlowNet", "init_args": {"noisy": True, "adam": True}},
    "data": {"class_path": f"{PARTS}.Data"},
}
STRATEGIES: dict[str, Any] = {
    "ddp": {"class_path": "lightning.pytorch.strategies.DDPStrategy", "init_args": {"process_group_backend": "gloo"}},
    "fsdp": {
        "class_path": "lightning.pytorch.strategies.ModelParallelStrategy",
        "init_args": {"data_parallel_size": 2, "tensor_parallel_size": 1},
    },
}


def fsdp(folders: bool) -> ModelParallelStrategy:
    return ModelParallelStrategy(2, 1, save_distributed_checkpoint=folders)


def velocity(dit: Any, prepared: bool = False) -> Tensor:
    layout, tensors = example(1)
    inputs = Inputs(layout, tensors["text"], tensors["references"])
    return dit(tensors["noise"], tensors["t"], dit.prepare(inputs) if prepared else inputs)


def fit(folder: Path, strategy: Any, lora: LoRA | None = None, save: str = "", **arguments: Any) -> dict[str, Any]:
    module = FlowNet(lora)
    made, ema = trainer(folder, strategy, **arguments)
    made.fit(module, loader(), loader(2))
    result = outcome(module, ema)
    if save:
        made.save_checkpoint(folder / save)
    return result


@cache
def alone(lora: LoRA | None = None) -> dict[str, Any]:
    return fit(Path("."), "auto", lora)


def lora_under_fsdp(folder: Path) -> dict[str, Any]:
    module = FlowNet(LoRA(RANK))
    made, ema = trainer(folder, fsdp(False))
    base = velocity(tiny_transformer())
    made.fit(module, loader(), loader(2))
    result = outcome(module, ema)
    assert all(isinstance(value, DTensor) for value in module.dit.parameters())
    with torch.no_grad():
        with adapters_disabled(module):
            assert torch.equal(velocity(module.dit), base)
        trained = velocity(module.dit)
        assert not torch.allclose(trained, base)
        torch.testing.assert_close(velocity(module.dit, prepared=True), trained)
        save_lora(module.dit, folder / "adapter")
        state = adapter_state(module)
        load_adapter_state(module, {name: torch.zeros_like(value) for name, value in state.items()})
        assert torch.equal(velocity(module.dit), base)
        load_adapter_state(module, state)
        assert torch.equal(velocity(module.dit), trained)
    return result | {"velocity": trained}


def disabled_before_the_first_step() -> dict[str, Any]:
    """A reference policy that answers first must not cost the adapters their gradients; nor a bfloat16 base."""
    mesh = init_device_mesh("cpu", (2,))
    module = FlowNet(LoRA(RANK)).to(torch.bfloat16)
    for name, parameter in module.dit.named_parameters():
        if is_adapter(name):
            parameter.data = parameter.data.float()
    shard_transformer(module.dit, mesh)
    with torch.no_grad(), adapters_disabled(module):
        reference = velocity(module.dit)
    out = velocity(module.dit)
    out.square().sum().backward()
    with_gradient = {name for name, value in module.dit.named_parameters() if value.grad is not None}
    assert with_gradient == {name for name, _ in module.dit.named_parameters() if is_adapter(name)}
    return {"bf16": reference, "dtype": str(out.dtype)}


def compiled_and_checkpointed() -> dict[str, Tensor]:
    """The gradients of blocks that are compiled, sharded, and computed again in the backward pass."""
    dit = tiny_transformer()
    dit.checkpointing = frozenset({"blocks", "noise_refiner"})
    compile_blocks(dit, "aot_eager")
    shard_transformer(dit, init_device_mesh("cpu", (2,)), "fp32")
    velocity(dit).square().sum().backward()
    return gradients_of(dit)


def refused_meshes() -> None:
    mesh = init_device_mesh("cpu", (1, 2), mesh_dim_names=("data_parallel", "tensor_parallel"))  # the default
    with pytest.raises(ValueError, match="holds 1 of 2 processes.*data_parallel_size=2 and tensor_parallel_size=1"):
        shard_transformer(tiny_transformer(), mesh["data_parallel"])
    with pytest.raises(ValueError, match="blocks are not split inside"):
        shard_transformer(tiny_transformer(), mesh)
    with pytest.raises(ValueError, match="set cast_forward_inputs=False"):
        shard_transformer(tiny_transformer(), init_device_mesh("cpu", (2,)), MixedPrecisionPolicy())


def everything(path: str) -> dict[str, Any]:
    folder = Path(path)
    results = {
        "ddp": fit(folder, DDPStrategy(process_group_backend="gloo")),
        "fsdp": fit(folder, fsdp(False), save="single.ckpt"),
        "fsdp, folders": fit(folder, fsdp(True), save="folder.ckpt", max_steps=2, val_check_interval=10),
        "lora": lora_under_fsdp(folder),
        "first": disabled_before_the_first_step(),
        "compiled": compiled_and_checkpointed(),
        "states": states_of_all(),
    }
    module = FlowNet()
    made, ema = trainer(folder, fsdp(True))
    made.fit(module, loader(), loader(2), ckpt_path=folder / "folder.ckpt")
    results["resumed"] = outcome(module, ema)
    refused_meshes()
    return results


def states_of_all() -> list[dict[str, Any]]:
    rank = torch.distributed.get_rank()
    return of_all_processes({"rank": rank, "values": [torch.arange(100 * (rank + 1))] * (rank + 1)})


@pytest.fixture(scope="module")
def pair(launcher: Launcher) -> tuple[Path, dict[str, Any]]:
    return launcher.folder, launcher.results(everything, str(launcher.folder))


@pytest.mark.parametrize("way", ["ddp", "fsdp", "lora"])
def test_two_processes_equal_one(way: str, pair: tuple[Path, dict[str, Any]]) -> None:
    result, expected = pair[1][way], alone(LoRA(RANK) if way == "lora" else None)
    for key in ("losses", "validated", "gradients", "parameters", "average"):
        torch.testing.assert_close(result[key], expected[key], rtol=1e-5, atol=1e-5)
    assert len(expected["losses"]) == 3
    assert len(expected["validated"]) == 2


def test_the_average_is_of_what_is_trained_and_validated(pair: tuple[Path, dict[str, Any]]) -> None:
    result = pair[1]["fsdp"]
    assert set(result["average"]) == set(result["gradients"]) == set(result["parameters"]) - {"frozen.weight"}
    module = FlowNet()
    module.load_state_dict(result["parameters"] | result["average"])
    averaged = [module.loss(batch).item() for batch in loader(2)]
    torch.testing.assert_close(result["validated"], averaged, rtol=1e-5, atol=1e-5)
    module.load_state_dict(result["parameters"])
    assert abs(module.loss(next(iter(loader(2)))).item() - averaged[0]) > 1e-4


def test_clipping_acts_on_the_norm_over_all_shards(pair: tuple[Path, dict[str, Any]]) -> None:
    gradients = pair[1]["fsdp"]["gradients"].values()
    assert torch.stack([gradient.norm() for gradient in gradients]).norm() > 0.1  # the limit is 0.05


def test_a_checkpoint_of_two_sharded_processes_continues_on_one(pair: tuple[Path, dict[str, Any]]) -> None:
    folder, results = pair
    module = FlowNet()
    made, ema = trainer(folder)
    made.fit(module, loader(), ckpt_path=folder / "single.ckpt", weights_only=True)
    result = outcome(module, ema)
    for key in ("parameters", "average"):
        torch.testing.assert_close(result[key], results["fsdp"][key], rtol=0, atol=0)
    longer, expected = FlowNet(), FlowNet()
    made, ema = trainer(folder, max_steps=5)
    made.fit(longer, loader(), ckpt_path=folder / "single.ckpt", weights_only=True)
    whole, average = trainer(folder, max_steps=5)
    whole.fit(expected, loader())
    for key in ("parameters", "average"):
        torch.testing.assert_close(outcome(longer, ema)[key], outcome(expected, average)[key], rtol=1e-5, atol=1e-5)


def test_the_generator_reads_adapters_of_sharded_training(pair: tuple[Path, dict[str, Any]]) -> None:
    folder, results = pair
    dit = tiny_transformer()
    load_lora(dit, folder / "adapter")
    torch.testing.assert_close(velocity(dit), results["lora"]["velocity"])


def test_bfloat16_shards_answer_in_the_dtype_of_their_input(pair: tuple[Path, dict[str, Any]]) -> None:
    first = pair[1]["first"]
    assert first["dtype"] == "torch.float32"
    expected = velocity(tiny_transformer())
    assert (first["bf16"] - expected).norm() < 0.05 * expected.norm()


def test_compiled_and_checkpointed_shards_have_the_same_gradients(pair: tuple[Path, dict[str, Any]]) -> None:
    dit = tiny_transformer()
    velocity(dit).square().sum().backward()
    torch.testing.assert_close(pair[1]["compiled"], gradients_of(dit), rtol=1e-4, atol=1e-5)


def training(recipe: str, folder: str, kill_at: int) -> None:
    """Run a recipe; end as `kill -9` does at the start of a batch, counted from 1, if it is not 0."""
    config = parse([f"--config={recipe}"])
    assert run_with(config, Path(folder), Kill("on_train_batch_start", kill_at)) == 0


def logged_and_learned(folder: Path) -> tuple[str, dict[str, bytes]]:
    checkpoint = committed_checkpoint(folder)
    assert checkpoint is not None
    content = torch.load(checkpoint / "meta.pt" if checkpoint.is_dir() else checkpoint, weights_only=True)
    average = content["callbacks"]["EMA"]["average"]
    return (folder / "metrics.csv").read_text(), {name: value.numpy().tobytes() for name, value in average.items()}


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_killed_processes_continue_exactly(strategy: str, tmp_path: Path, launcher: Launcher) -> None:
    """Killed in the middle of an epoch and in the one after, whose loader starts from a checkpoint at its border."""
    callbacks = [AVERAGE, *checkpoints_every(2)["trainer"]["callbacks"]]
    layer = {"trainer": {"strategy": STRATEGIES[strategy], "callbacks": callbacks}}
    recipe = str(write(tmp_path / "recipe.yaml", RECIPE, layer))
    for name, kill_at in (("whole", 0), ("killed", 4), ("killed", 4), ("killed", 0)):
        expected = [9, 9] if kill_at else [0, 0]
        assert launcher(training, recipe, str(tmp_path / name), kill_at) == expected, launcher.log()
    assert logged_and_learned(tmp_path / "killed") == logged_and_learned(tmp_path / "whole")


def test_another_number_of_processes_is_said(tmp_path: Path) -> None:
    state = ResumePoint().state_dict()
    assert len(state["processes"]) == 1
    state["processes"] *= 2
    before = torch.get_rng_state()
    point = ResumePoint()
    with pytest.warns(UserWarning, match="made by 2 processes, and now there are 1: its random states"):
        point.load_state_dict(state)
    torch.rand(1)
    point.restore_random_states(epoch_ended=False)
    assert not torch.equal(torch.get_rng_state(), before)


def test_every_process_gets_every_state(pair: tuple[Path, dict[str, Any]]) -> None:
    states = pair[1]["states"]
    assert [state["rank"] for state in states] == [0, 1]
    assert [len(value) for value in states[1]["values"]] == [200, 200]


def test_a_folder_of_shards_continues_exactly(pair: tuple[Path, dict[str, Any]]) -> None:
    for key in ("parameters", "average"):
        torch.testing.assert_close(pair[1]["resumed"][key], pair[1]["fsdp"][key], rtol=0, atol=0)
