"""Dry runs: estimates that obey the laws of what they estimate, and recipes described where nothing of them exists."""

import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from omnigen2.cli import lightning_main as main
from omnigen2.dit import variants
from omnigen2.dit.flops import forward_flops
from omnigen2.layout import ImageSegment, Layout, TextSegment
from omnigen2.microworld.runs.data import MicroWorld
from omnigen2.runner.dry_run.cluster import Cluster
from omnigen2.runner.dry_run.describe import describe
from omnigen2.runner.dry_run.estimates import Memory, Speed, memory_of
from omnigen2.training.callbacks.ema import EMA
from omnigen2.training.parts.optimizers import AdamWRecipe, MuonAdamW
from tests.paths import RECIPES
from tests.runner.recipes import PLAIN, config_of, write
from tests.runner.toy_parts import Net

PARAMETERS = 3_967_161_400
SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=4)


def described(file: Path, *options: str) -> str:
    return describe(config_of(file, *options))


def network(sizes: list[int]) -> nn.Sequential:
    with torch.device("meta"):
        return nn.Sequential(*(nn.Linear(size, 3) for size in sizes))


# memory


@given(sizes=SIZES, shards=st.integers(1, 100), averages=st.integers(0, 2))
def test_what_all_shards_hold_is_what_one_copy_holds(sizes: list[int], shards: int, averages: int) -> None:
    model = network(sizes)
    whole = memory_of(model, [AdamWRecipe(1e-3).build(model.named_parameters())], averages)
    part = whole.shared_by(shards)
    assert whole.total <= part.total * shards < whole.total + 4 * shards  # each of the four parts is rounded up
    assert whole.shared_by(1) == whole


@given(sizes=SIZES, frozen=st.integers(0, 3), averages=st.integers(0, 2))
def test_memory_is_bytes_per_parameter(sizes: list[int], frozen: int, averages: int) -> None:
    model = network(sizes)
    for layer in list(model)[1:][:frozen]:
        layer.requires_grad_(False)
    everything = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    optimizer = AdamWRecipe(1e-3).build(model.named_parameters())
    assert memory_of(model, [optimizer], averages).total == 4 * everything + (4 + 8 + 4 * averages) * trained
    halves = memory_of(model, [optimizer], averages, bytes_per_weight=2)
    assert halves.total == 2 * everything + (2 + 4 + 4 * averages) * trained  # the average stays float32


def test_the_memory_of_the_released_size_is_16_bytes_per_parameter() -> None:
    with torch.device("meta"):
        model = variants.omnigen2_4b()
    memory = memory_of(model, [AdamWRecipe(1e-4).build(model.named_parameters())], averages=1)
    assert memory == Memory(
        weights=15_868_645_600, gradients=15_868_645_600, states={"AdamW": 31_737_291_200}, averages=15_868_645_600,
        guessed=(),
    )  # fmt: skip
    assert memory.total - memory.averages == 16 * PARAMETERS == 63_474_582_400
    assert memory.shared_by(8).weights == 1_983_580_700


def test_muon_has_one_state_and_adamw_two() -> None:
    with torch.device("meta"):
        model = variants.micro()
    optimizer = MuonAdamW(1e-3).build(model.named_parameters())
    count = {group["name"]: sum(each.numel() for each in group["params"]) for group in optimizer.param_groups}
    assert memory_of(model, [optimizer]).states == {"Muon": 4 * count["muon"], "AdamW": 8 * count["adamw"]}
    assert sum(count.values()) == sum(parameter.numel() for parameter in model.parameters())


def test_states_are_those_that_an_optimizer_makes() -> None:
    for build in (AdamWRecipe(1e-3).build, MuonAdamW(1e-3, blocks=(r"^0\.",)).build):
        model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))
        optimizer = build(model.named_parameters())
        estimated = sum(memory_of(model, [optimizer]).states.values())
        model(torch.ones(2, 5)).sum().backward()
        optimizer.step()
        states = [value for state in optimizer.state.values() for value in state.values()]
        assert estimated == sum(value.nbytes for value in states if value.ndim > 0)


def test_the_average_is_what_ema_keeps() -> None:
    model = Net(width=5).bfloat16()
    average = EMA()
    average.update(model)
    kept = sum(value.nbytes for value in average.state_dict()["average"].values())
    assert memory_of(model, [], averages=1).averages == kept


def test_an_unknown_optimizer_is_said_to_be_guessed() -> None:
    model = network([4])
    memory = memory_of(model, [torch.optim.Rprop(model.parameters())])
    assert (memory.guessed, memory.states) == (("Rprop",), {"Rprop": 2 * memory.weights})


# devices and time

SHARDED = {"class_path": "lightning.pytorch.strategies.ModelParallelStrategy"}
EIGHT = {"devices": 8, "num_nodes": 2}


@pytest.mark.parametrize(
    ("trainer", "devices", "shards"),
    [
        ({"accelerator": "cpu"}, 1, 1),
        ({"accelerator": "cpu", "devices": "auto", "strategy": "auto"}, 1, 1),
        (EIGHT | {"accelerator": "gpu", "strategy": "ddp"}, 16, 1),
        ({"accelerator": "gpu", "devices": [0, 3], "strategy": "ddp_find_unused_parameters_true"}, 2, 1),
        ({"accelerator": "gpu", "devices": "0,1,5", "strategy": "fsdp"}, 3, 3),
        ({"accelerator": "gpu", "devices": "4", "strategy": "deepspeed"}, 4, None),
        (EIGHT | {"strategy": SHARDED}, 16, 16),
        (EIGHT | {"strategy": SHARDED | {"init_args": {"data_parallel_size": 16, "tensor_parallel_size": 1}}}, 16, 16),
    ],
)
def test_devices_and_shards_are_those_of_the_settings(
    trainer: dict[str, Any], devices: int, shards: int | None
) -> None:
    cluster = Cluster.of(trainer)
    assert (cluster.devices, cluster.shards, cluster.counted_here) == (devices, shards, False)


def test_devices_that_are_left_open_are_counted_and_said_to_be() -> None:
    cluster = Cluster.of({"accelerator": "auto", "devices": "auto"})
    assert cluster.devices == max(1, torch.cuda.device_count())
    assert "as many as this machine has" in cluster.words


@given(flops=st.floats(1e9, 1e24), devices=st.integers(1, 1000), mfu=st.floats(0.01, 1))
def test_time_is_work_by_speed(flops: float, devices: int, mfu: float) -> None:
    speed = Speed(mfu, 1e12)
    seconds = speed.seconds(flops, devices)
    assert seconds * devices * mfu * 1e12 == pytest.approx(flops)
    assert speed.seconds(flops, 2 * devices) == pytest.approx(seconds / 2)


@pytest.mark.parametrize(("mfu", "peak"), [(0.0, 1e12), (1.5, 1e12), (math.nan, 1e12), (0.4, 0.0), (0.4, math.inf)])
def test_impossible_speeds_are_refused(mfu: float, peak: float) -> None:
    with pytest.raises(ValueError, match=rf"got {mfu} and {peak}"):
        Speed(mfu, peak)
    with pytest.raises(ValueError, match="devices >= 1, got 0"):
        Speed().seconds(1.0, 0)


def test_the_command_line_says_how_fast_devices_are(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = str(RECIPES / "paper/pretrain_256_t2i.yaml")
    days: list[float] = []
    for options in ([], ["--mfu=0.2"], ["--mfu", "0.2", "--peak_tflops=1978"]):
        assert main(["run", recipe, "--dry_run", *options]) == 0
        days.append(float(re.findall(r"about ([\d.]+) days", capsys.readouterr().out)[0]))
    assert days[1] == pytest.approx(2 * days[0], rel=0.05)
    assert days[2] == pytest.approx(days[0], rel=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dry_run", "--mfu=40"], "--mfu is a share above 0 and at most 1, got 40.0"),
        (["--dry_run", "--peak_tflops=0"], "--peak_tflops must be positive, got 0.0"),
        (["--mfu=0.3"], "--mfu and --peak_tflops are for estimates; add --dry_run"),
    ],
)
def test_a_speed_that_cannot_be_used_is_refused(
    options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(RECIPES / "rope_toy_quick.yaml"), *options]) == 2
    assert message in capsys.readouterr().err


# recipes


def test_a_recipe_of_full_size_is_described_without_weights_data_or_gpus() -> None:
    text = described(RECIPES / "paper/pretrain_512_t2i.yaml")
    assert "described without runs/pretrain_256_mixed/weights, which would be read and do not exist yet" in text
    assert "| all | 3,967,161,400 | 3,967,161,400 |" in text
    assert "memory of each of 64 devices, 64 of which share it (ModelParallelStrategy)" in text
    # 3,967,161,400 x 4 / 64 bytes of weights, as much of gradients and of the average, twice as much of AdamW
    parts = "weights 236.5 MiB + gradients 236.5 MiB + AdamW 472.9 MiB + moving average 236.5 MiB = 1.155 GiB"
    assert parts in text
    assert "Activations are not counted (those of blocks, noise_refiner" in text
    sample = (TextSegment(64), ImageSegment(32, 32, "target"))
    layout = Layout((sample,) * 15)
    flops = 3 * forward_flops(variants.OMNIGEN2_4B, layout)
    assert f"work of a step: {layout.tokens:,} tokens and {flops / 1e12:.4g} TFLOPs on each of 64 devices" in text
    days = 30_000 * flops / (0.4 * 989e12) / 86400
    assert f"about {days:.2g} days on 64 devices, if they reach 40% of an H100's 989 TFLOP/s" in text


def test_replicas_hold_everything() -> None:
    recipe = RECIPES / "paper/pretrain_512_t2i.yaml"
    text = described(recipe, "--trainer.strategy=ddp", "--trainer.precision=bf16-true")
    assert "memory of each of 64 devices, on which ddp copies it: weights 7.389 GiB" in text
    assert "moving average 14.78 GiB" in text
    unknown = described(recipe, "--trainer.strategy=deepspeed")
    assert "memory of all together: weights 14.78 GiB" in unknown
    assert "how deepspeed shares it is not known" in unknown


def test_the_micro_world_plans_its_first_batch() -> None:
    text = described(RECIPES / "micro/pretrain_16_t2i.yaml")
    assert "work of a step: " in text
    assert "H100" not in text  # it trains on a CPU
    data = MicroWorld(16, steps=1, batch_size=5, families={"in_context": 1.0})
    layout, batch = data.planned_layout(), data.batch(0)
    assert len(layout) == 5
    for sample, example in zip(layout.batch, batch.examples, strict=True):
        assert [segment.tokens for segment in sample] == [
            len(example.instruction.split()), *[16] * (1 + len(example.references))
        ]  # fmt: skip


def test_weights_that_do_not_exist_yet_end_the_description_where_sizes_are_theirs() -> None:
    text = described(RECIPES / "finetune/lora.yaml", "--vars.model=nowhere")
    assert "described without nowhere, which would be read and do not exist yet" in text
    assert "nothing more is known yet: the weights nowhere have no transformer/" in text
    assert "parameters" not in text
    vlm = described(RECIPES / "paper/image_token.yaml", "--vars.vlm=nowhere")
    assert "model omnigen2.training.language.ImageTokenModule" in vlm
    assert "nothing more is known yet: there is no folder nowhere/mllm" in vlm


def test_every_stage_of_the_curriculum_is_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(RECIPES / "micro", tmp_path / "micro")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "micro/curriculum.yaml", "--dry_run"]) == 0
    text = capsys.readouterr().out
    assert text.count("stage ") == 10
    assert text.count("model omnigen2.training.") == 10
    assert "there is no folder runs/curriculum/understanding/weights/mllm" in text
    assert "(built without @understanding/weights)" in text
    assert "(built without @pretrain_64_mixed/weights)" in text
    assert not Path("runs").exists()


def test_a_plain_module_has_no_work_to_tell(tmp_path: Path) -> None:
    text = described(write(tmp_path / "plain.yaml", PLAIN))
    assert "memory: weights " in text
    assert "work of a step" not in text
