"""Flow training by two processes equals one that gets their joined batch; what they write is written once."""

import os
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch import Callback
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from safetensors.torch import load_file
from torch import Tensor

from omnigen2.adapters import LoRA, is_adapter
from omnigen2.data import Batch, Collate, DataError, Mixture
from omnigen2.generate import Sampling
from omnigen2.microworld.runs import MicroEvaluation, MicroWorld
from omnigen2.runner.keep import of_all_processes, save_optimizer
from omnigen2.training.callbacks import EMA, SampleGrid
from omnigen2.training.flow_matching import Drawing
from omnigen2.training.parts import StepLoader, TransformerPart, save_plain_transformer
from tests.data.batches.test_mixture import one_by_one
from tests.training.flow_parts import MIXED, FixedDraws, Gradients, module, trainer, wake
from tests.training.rank_parts import Launcher, mean_of_processes, parameters_of

STEPS, LONGER = 3, 5
ADAPTERS = TransformerPart(lora=LoRA(rank=2))
WAYS: dict[str, TransformerPart] = {"ddp": TransformerPart(), "fsdp": TransformerPart(), "lora": ADAPTERS}


class Cut(MicroWorld):
    """The same examples for any number of processes: of two, the first one gets one, without references."""

    def __init__(self) -> None:
        super().__init__(16, LONGER, families=MIXED, validation=1, seed=1)
        self.everything = self.validation_batch()

    def batch(self, step: int) -> Batch:
        examples = self.everything.examples[step::6]
        assert not examples[0].references
        own = [examples, examples[:1], examples[1:]][1 + dist.get_rank() if dist.is_initialized() else 0]
        return replace(self.everything, examples=own)

    def val_dataloader(self) -> StepLoader[Batch]:
        return StepLoader(self.batch, steps=1)


class Watched(FixedDraws):
    """Remembers its losses, and what a validation step logs."""

    losses: list[float]
    validated: tuple[float, int]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.losses.append(mean_of_processes(loss))
        return loss

    def log(self, name: str, value: Any, *arguments: Any, **named: Any) -> None:
        if name == "eval/loss":
            self.validated = (float(value), named["batch_size"])
        super().log(name, value, *arguments, **named)


def watched(part: TransformerPart, start: str, carried: str) -> Watched:
    drawing = Drawing(Sampling(steps=1, text_scale=2.0, image_scale=1.5), shown=2)
    model = module(part, weights=start, optimizer_state=carried or None, drawing=drawing)
    model.__class__ = Watched
    assert isinstance(model, Watched)
    model.losses = []
    return model


def fit(
    way: str,
    start: str,
    folder: Path,
    strategy: Any,
    *callbacks: Callback,
    steps: int = STEPS,
    go_on: str = "",
    carried: str = "",
) -> dict[str, Any]:
    """Train; everything that must not depend on the number of processes.

    It ends with `<steps>.ckpt`, `optimizer.safetensors` and `weights/`.
    """
    model, ema, kept, data = watched(WAYS[way], start, carried), EMA(0.5), Gradients(), Cut()
    rank = int(os.environ.get("RANK", "0"))
    made = trainer(folder / f"rank{rank}", steps, ema, kept, *callbacks, strategy=strategy, limit_val_batches=1)
    made.fit(model, datamodule=data, ckpt_path=go_on or None, weights_only=True)
    result = {"losses": model.losses, "gradients": kept.found, "average": ema.state_dict()["average"]}
    result["parameters"] = parameters_of(model)
    made.save_checkpoint(folder / f"{steps}.ckpt")
    save_optimizer(made.optimizers[0], folder / "optimizer.safetensors")
    model.save_weights(folder / "weights")
    kinds = [[example for example in data.everything.examples if bool(example.references) == some] for some in (0, 1)]
    result["drawn"] = model.draw(kinds[rank][:2])  # the one draws without references, the other one with them
    if callbacks:
        logged = made.validate(model, datamodule=data, verbose=False)[0]["eval/loss"]
        result["validated"] = [logged, mean_over_elements(*model.validated)]
    return result


def mean_over_elements(value: float, elements: int) -> float:
    sums = torch.tensor([value * elements, elements], dtype=torch.float64)
    dist.all_reduce(sums)
    return float(sums[0] / sums[1])


def fsdp(folders: bool = False) -> ModelParallelStrategy:
    return ModelParallelStrategy(2, 1, save_distributed_checkpoint=folders)


def everything(path: str, start: str) -> dict[str, Any]:
    folder = Path(path)
    drawn = [SampleGrid(STEPS), MicroEvaluation(per_kind=1, shown=1)]
    results = {
        "ddp": fit("ddp", start, folder / "ddp", DDPStrategy(process_group_backend="gloo"), *drawn),
        "fsdp": fit("fsdp", start, folder / "fsdp", fsdp(), *drawn),
        "lora": fit("lora", start, folder / "lora", fsdp()),
        "carried": fit("fsdp", start, folder / "carried", fsdp(), carried=f"{path}/fsdp/optimizer.safetensors"),
        "longer": fit("lora", start, folder / "longer", fsdp(), steps=LONGER, go_on=f"{path}/lora/{STEPS}.ckpt"),
    }
    with pytest.raises(ValueError, match="checkpoints of adapters are single files.*set save_distributed_checkpoint"):
        fit("lora", start, folder / "refused", fsdp(folders=True))
    return results


def broken_samples() -> dict[str, Any]:
    """Batches of one sample, a third of them broken; the second half in a loader that goes on from the first one's."""
    dist.init_process_group("gloo", timeout=timedelta(seconds=20))  # ranks that come apart fail
    whole = Mixture(one_by_one(2), Collate(broken="skip"), 8)
    keys = [batch.examples[0].key for batch in whole]
    first = Mixture(one_by_one(2), Collate(broken="skip"), 8)
    parts = [batch.examples[0].key for batch in islice(first, 3)]
    states = of_all_processes({"state": first.state_dict()})
    again = Mixture(one_by_one(2), Collate(broken="skip"), 8)
    again.load_state_dict(states[0]["state"])  # as a checkpoint of the first process
    parts += [batch.examples[0].key for batch in again]
    with pytest.raises(
        DataError,
        match=r"100 steps in a row are lost, since one of 2 ranks had nothing left of each, the last: sample 0",
    ):
        list(Mixture(one_by_one(0), Collate(broken="skip"), 8))
    ends = of_all_processes(
        {"whole": whole.state_dict(), "keys": keys, "same": parts == keys, "end": again.state_dict()}
    )
    return {"ranks": ends, "states": states}


def test_two_processes_leave_a_step_together_where_one_has_nothing_left(launcher: Launcher) -> None:
    result = launcher.results(broken_samples)
    first, second = result["ranks"]
    assert (len(first["keys"]), len(second["keys"])) == (8, 8)
    assert set(first["keys"] + second["keys"]) == {"s:0", "s:1"}
    assert first["same"]
    assert second["same"]
    assert first["whole"] == second["whole"] == first["end"] == second["end"]
    assert result["states"][0] == result["states"][1]
    assert first["whole"]["lost"] > 0
    assert first["whole"]["broken"] >= first["whole"]["lost"]
    assert first["whole"]["named"][0].startswith("sample 2 of source d (broken:7): image file")
    assert len(first["whole"]["named"]) == 1


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("start")
    save_plain_transformer(wake(module()).dit, folder)
    return str(folder)


@pytest.fixture(scope="module")
def pair(launcher: Launcher, start: str) -> tuple[Path, dict[str, Any]]:
    return launcher.folder, launcher.results(everything, str(launcher.folder), start)


@pytest.fixture(scope="module")
def alone(start: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What one process comes to, by way and steps; of DDP and FSDP it is the same."""
    folder = tmp_path_factory.mktemp("alone")

    @cache
    def result(way: str, steps: int) -> dict[str, Any]:
        return fit(way, start, folder / f"{way}{steps}", "auto", steps=steps) | {"folder": folder / f"{way}{steps}"}

    return lambda way, steps=STEPS: result(way.replace("ddp", "fsdp"), steps)


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_equal_one(way: str, pair: tuple[Path, dict[str, Any]], alone: Any) -> None:
    result, expected = pair[1][way], alone(way)
    assert len(expected["losses"]) == STEPS
    assert expected["gradients"]
    for key in ("losses", "gradients", "average", "parameters"):
        torch.testing.assert_close(result[key], expected[key], rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(result["drawn"], expected["drawn"], rtol=0, atol=2e-3)


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_leave_the_weights_that_one_leaves(
    way: str, pair: tuple[Path, dict[str, Any]], alone: Any
) -> None:
    ours, theirs = pair[0] / way / "weights", alone(way)["folder"] / "weights"
    names = sorted(str(path.relative_to(theirs)) for path in theirs.rglob("*.*"))
    assert names == sorted(str(path.relative_to(ours)) for path in ours.rglob("*.*"))
    for name in names:
        if name.endswith(".safetensors"):
            torch.testing.assert_close(load_file(ours / name), load_file(theirs / name), rtol=1e-4, atol=2e-5)
        else:
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()


@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_of_two_processes_goes_on_with_one(
    way: str, pair: tuple[Path, dict[str, Any]], alone: Any, start: str, tmp_path: Path
) -> None:
    expected = alone(way, LONGER)
    result = fit(way, start, tmp_path, "auto", steps=LONGER, go_on=str(pair[0] / way / f"{STEPS}.ckpt"))
    assert result["losses"] == pytest.approx(expected["losses"][STEPS:], rel=1e-3)
    for key in ("parameters", "average"):
        torch.testing.assert_close(result[key], expected[key], rtol=1e-3, atol=1e-4)


def test_adapters_under_fsdp_go_on_from_a_checkpoint_without_other_weights(
    pair: tuple[Path, dict[str, Any]], alone: Any
) -> None:
    state = torch.load(pair[0] / "lora" / f"{STEPS}.ckpt", weights_only=True)["state_dict"]
    assert state
    assert all(map(is_adapter, state))
    for key in ("parameters", "average"):
        torch.testing.assert_close(pair[1]["longer"][key], alone("lora", LONGER)[key], rtol=1e-3, atol=1e-4)


def test_a_sharded_optimizer_is_carried_as_a_whole_one(
    pair: tuple[Path, dict[str, Any]], alone: Any, start: str, tmp_path: Path
) -> None:
    expected = fit("fsdp", start, tmp_path, "auto", carried=str(pair[0] / "fsdp" / "optimizer.safetensors"))[
        "parameters"
    ]
    torch.testing.assert_close(pair[1]["carried"]["parameters"], expected, rtol=1e-4, atol=2e-5)
    fresh = alone("fsdp")["parameters"]
    assert not any(torch.allclose(fresh[name], value, rtol=1e-4, atol=2e-5) for name, value in expected.items())


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_validation_is_the_mean_over_the_elements_of_both(way: str, pair: tuple[Path, dict[str, Any]]) -> None:
    logged, expected = pair[1][way]["validated"]
    assert logged == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_sheets_and_scores_are_written_once(way: str, pair: tuple[Path, dict[str, Any]]) -> None:
    files = {str(path.relative_to(pair[0] / way)) for path in (pair[0] / way).rglob("*.*") if path.is_file()}
    written = {f"samples/step_{STEPS}.json", f"samples/step_{STEPS}.png", "scores.json", "scores.md", "pictures.png"}
    assert {name for name in files if name.startswith("rank")} == {f"rank0/{name}" for name in written}
