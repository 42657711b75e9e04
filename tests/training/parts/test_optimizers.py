"""Every trainable parameter is in one group; a restored optimizer goes on to the same bits."""

import copy
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import AdamW, Muon

from omnigen2.dit import TOY, DiffusionTransformer
from omnigen2.runner.plan import parse
from omnigen2.training.parts import AdamWRecipe, MuonAdamW, OptimizerRecipe, StepLoader, muon
from omnigen2.training.parts.optimizers import CombinedOptimizer
from omnigen2.training.parts.schedules import LearningRate, WarmupCosine, WarmupLinearDecay, lambda_lr
from tests.runner.recipes import PLAIN, write
from tests.training.rank_parts import silent_trainer

RECIPES: dict[str, OptimizerRecipe] = {
    "adamw": AdamWRecipe(0.01),
    "adamw, vectors without decay": AdamWRecipe(0.01, weight_decay=0.1, decay_vectors=False),
    "adamw, fused": AdamWRecipe(0.01, fused=True),
    "muon": MuonAdamW(0.01, weight_decay=0.1),
    "muon, vectors without decay, fused": MuonAdamW(0.01, decay_vectors=False, fused=True),
}


class Net(nn.Module):
    """An embedder, two blocks and an output; the last gain has no axis."""

    def __init__(self) -> None:
        super().__init__()
        self.embedder = nn.Linear(3, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.RMSNorm(4)) for _ in range(2))
        self.output = nn.Linear(4, 1, bias=False)
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedder(x)
        for block in self.blocks:
            x = x + block(x)
        return self.gain * self.output(x)


NAMES = [name for name, _ in Net().named_parameters()]


def net() -> Net:
    torch.manual_seed(0)
    return Net()


def train(model: nn.Module, optimizer: Any, scheduler: Any, steps: range) -> None:
    for step in steps:
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        (model(x) - x.sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()
        scheduler.step()


def bits(model: nn.Module) -> dict[str, bytes]:
    return {name: value.detach().numpy().tobytes() for name, value in model.state_dict().items()}


@given(
    st.sampled_from(sorted(RECIPES)), st.sets(st.sampled_from([name for name in NAMES if name != "blocks.0.0.weight"]))
)
def test_every_trainable_parameter_is_in_exactly_one_group_and_frozen_ones_in_none(kind: str, frozen: set[str]) -> None:
    model = net()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    optimizer = RECIPES[kind].build(model.named_parameters())
    found = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(found) == sorted(id(p) for name, p in model.named_parameters() if name not in frozen)
    before = bits(model)
    train(model, optimizer, lambda_lr(optimizer, WarmupCosine(2, 10)), range(2))
    changed = {name for name, value in bits(model).items() if value != before[name]}
    assert changed == {name for name in NAMES if name not in frozen}


@given(st.sampled_from(sorted(RECIPES)), st.integers(0, 6))
def test_a_restored_optimizer_goes_on_to_the_same_bits(kind: str, stop: int) -> None:
    def fresh(model: nn.Module) -> tuple[Any, Any]:
        optimizer = RECIPES[kind].build(model.named_parameters())
        return optimizer, lambda_lr(optimizer, WarmupCosine(2, 10))

    whole = net()
    train(whole, *fresh(whole), range(8))
    first = net()
    parts = fresh(first)
    train(first, *parts, range(stop))
    second = copy.deepcopy(first)
    again = fresh(second)
    for restored, saved in zip(again, parts, strict=True):
        restored.load_state_dict(copy.deepcopy(saved.state_dict()))
    train(second, *again, range(stop, 8))
    assert bits(second) == bits(whole)


def test_the_parts_are_muon_and_adamw_as_they_are() -> None:
    model, other = net(), net()
    combined = MuonAdamW(0.02, weight_decay=0.1, momentum=0.9, betas=(0.8, 0.9)).build(model.named_parameters())
    hidden = [block[0].weight for block in other.blocks]
    rest = [p for p in other.parameters() if all(p is not matrix for matrix in hidden)]
    muon = Muon(hidden, lr=0.02, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    adamw = AdamW(rest, lr=0.02, betas=(0.8, 0.9), weight_decay=0.1)
    for step in range(3):
        x = torch.randn(8, 3, generator=torch.Generator().manual_seed(step))
        for module, optimizers in ((model, [combined]), (other, [muon, adamw])):
            module.zero_grad()
            module(x).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
    assert bits(model) == bits(other)


@pytest.mark.parametrize("stack", [1, 100, muon.STACK])
def test_stacked_muon_is_muon_bit_for_bit(stack: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tall, wide and square matrices, with and without gradients, and from the state of torch's own."""
    monkeypatch.setattr(muon, "STACK", stack)
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in [(6, 6), (12, 4), (4, 12), (12, 4), (6, 6), (5, 4)]]
    ours, theirs = ([nn.Parameter(matrix.clone()) for matrix in start] for _ in range(2))
    stacked = muon.StackedMuon([{"params": ours}], 0.1, 0.01, 0.9)
    plain = Muon(theirs, 0.1, 0.01, 0.9, adjust_lr_fn="match_rms_adamw")
    for step in range(4):
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            mine.grad = None if number == step else torch.randn(mine.shape, generator=generator)
            other.grad = None if mine.grad is None else mine.grad.clone()
        stacked.step()
        plain.step()
        assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))
        if step == 1:
            stacked.load_state_dict(deepcopy(plain.state_dict()))


def test_only_matrices_of_the_blocks_go_to_muon() -> None:
    model = DiffusionTransformer(TOY)
    groups = MuonAdamW(0.01).build(model.named_parameters()).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    muon = {names[id(parameter)] for parameter in groups[0]["params"]}
    assert groups[0]["name"] == "muon"
    assert {name.split(".")[0] for name in muon} <= {"blocks", "text_refiner", "reference_refiner", "noise_refiner"}
    assert "blocks.0.body.attention.query.weight" in muon
    left = {names[id(parameter)] for group in groups[1:] for parameter in group["params"]}
    assert all(p.ndim < 2 for name, p in model.named_parameters() if name in left and name.startswith("blocks."))


@pytest.mark.parametrize("make", [AdamWRecipe, MuonAdamW])
def test_vectors_can_be_kept_from_decaying(make: Any) -> None:
    model = net()
    optimizer = make(0.01, weight_decay=0.5, decay_vectors=False).build(model.named_parameters())
    for group in optimizer.param_groups:
        assert group["weight_decay"] == (0.0 if group["name"] == "adamw_without_decay" else 0.5)
        assert all((p.ndim < 2) == (group["weight_decay"] == 0) for p in group["params"])
    decaying = make(0.01, weight_decay=0.5).build(model.named_parameters())
    assert {group["weight_decay"] for group in decaying.param_groups} == {0.5}


def test_the_closure_is_called_once_with_gradients() -> None:
    model = net()
    optimizer = MuonAdamW(0.01).build(model.named_parameters())
    calls: list[bool] = []

    def closure() -> Tensor:
        calls.append(torch.is_grad_enabled())
        loss = model(torch.ones(2, 3)).square().mean()
        loss.backward()
        return loss

    assert optimizer.step(closure) > 0
    assert calls == [True]


class Module(LightningModule):
    """Trains the small net with an optimizer and a schedule from a recipe."""

    def __init__(self, optimizer: OptimizerRecipe, schedule: LearningRate) -> None:
        super().__init__()
        self.net = net()
        self.optimizer = optimizer
        self.schedule = schedule

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return (self.net(batch) - batch.sum(1, keepdim=True)).square().mean()

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer.build(self.named_parameters())
        scheduler = lambda_lr(optimizer, self.schedule.resolved(self.trainer.max_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def fit(kind: str, folder: Path, stop: int, **more: Any) -> tuple[Module, Path]:
    module = Module(RECIPES[kind], WarmupCosine(2))
    loader = StepLoader(lambda step: torch.randn(8, 3, generator=torch.Generator().manual_seed(step)), 6)
    trainer = silent_trainer(folder, 6, limit_train_batches=stop, max_epochs=1, **more)
    trainer.fit(module, loader)
    trainer.save_checkpoint(folder / f"{stop}.ckpt")
    return module, folder / f"{stop}.ckpt"


@pytest.mark.parametrize("kind", RECIPES)
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_lightning_clips_and_steps_it_as_one_optimizer(kind: str, precision: Any, tmp_path: Path) -> None:
    module, checkpoint = fit(kind, tmp_path, 3, precision=precision, gradient_clip_val=1.0)
    saved = torch.load(checkpoint, weights_only=True)
    assert saved["global_step"] == 3
    assert len(saved["optimizer_states"]) == 1
    assert len(saved["optimizer_states"][0]["state"]) == len(list(module.parameters()))
    assert saved["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(0.01 * WarmupCosine(2, 6).factor(3))


def test_recipes_name_optimizers_and_schedules_by_class(tmp_path: Path) -> None:
    optimizer = {
        "class_path": "omnigen2.training.parts.MuonAdamW",
        "init_args": {"lr": "${vars.lr}", "betas": [0.9, 0.99], "blocks": ["blocks"]},
    }
    schedule = {"class_path": "omnigen2.training.parts.WarmupLinearDecay", "init_args": {"warmup_steps": 3}}
    model = {"class_path": f"{__name__}.Module", "init_args": {"optimizer": optimizer, "schedule": schedule}}
    recipe = {key: PLAIN[key] for key in ("seed_everything", "trainer", "vars")} | {"model": model}
    _, module, _ = parse([f"--config={write(tmp_path / 'r.yaml', recipe)}"]).build(lambda c, log: {})
    assert isinstance(module, Module)
    assert module.schedule == WarmupLinearDecay(3)
    built = module.optimizer.build(module.named_parameters())
    assert [group["lr"] for group in built.param_groups] == [0.01, 0.01]
    assert built.param_groups[1]["betas"] == (0.9, 0.99)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdamWRecipe(0.0), "lr must be above 0 and weight_decay at least 0, got 0.0 and 0.01"),
        (lambda: AdamWRecipe(0.1, weight_decay=-1.0), "got 0.1 and -1.0"),
        (lambda: AdamWRecipe(0.1, betas=(0.9, 1.0)), r"must be in \[0, 1\), got \(0.9, 1.0\)"),
        (lambda: MuonAdamW(0.1, momentum=1.5), r"must be in \[0, 1\), got \(1.5, 0.9, 0.95\)"),
        (lambda: AdamWRecipe(0.1).build([]), "no trainable parameters to optimize; unfreeze some"),
        (lambda: MuonAdamW(0.1, blocks=("layers",)).build(net().named_parameters()), r"'layers'.*embedder.weight.*set"),
        (
            lambda: MuonAdamW(0.1).build(net().named_parameters()).add_param_group({"params": []}),
            "takes no further groups",
        ),
    ],
)
def test_what_cannot_work_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_group_in_two_parts_is_refused() -> None:
    model = net()
    parts = [AdamWRecipe(0.1).build(model.named_parameters()) for _ in range(2)]
    with pytest.raises(ValueError, match="more than one parameter group"):
        CombinedOptimizer(parts)
