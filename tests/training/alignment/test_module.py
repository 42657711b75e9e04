"""Flow-GRPO training: the ratio starts at 1, gradients do not depend on the cut, the reward rises."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from omnigen2.adapters import LoRA, is_adapter
from omnigen2.errors import UserError
from omnigen2.generate.request import Sampling
from omnigen2.rl import FlowGRPOObjective, NormalizedRatio, RandomWindow
from omnigen2.runner.keep.metrics import read_metrics
from omnigen2.training.alignment.settings import Watched
from omnigen2.training.parts.model_folder import save_plain_transformer
from omnigen2.training.parts.transformer_part import TransformerPart
from tests.training.flow_parts import CONFIG, wake
from tests.training.grpo_parts import Blueness, Redness, fit, grpo, prompts, same, weights


class Gradients(Callback):
    """Keeps the gradients of the first optimizer step."""

    def __init__(self) -> None:
        self.found: dict[str, Tensor] = {}

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        if not self.found:
            named = pl_module.named_parameters()
            self.found = {name: value.grad.clone() for name, value in named if value.grad is not None}


def column(folder: Path, name: str) -> list[float]:
    return [row[name] for row in read_metrics(folder) if name in row]


@settings(max_examples=4, deadline=None)
@given(guided=st.booleans(), policy=st.booleans(), normalized=st.booleans(), tokens=st.sampled_from([300, 10_000]))
def test_the_ratio_is_exactly_1_before_the_first_update(
    guided: bool, policy: bool, normalized: bool, tokens: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    scale = 3.0 if guided else 1.0
    sampling = Sampling(steps=4, text_scale=scale, image_scale=2.0, guidance_interval=(0.0, 0.6))
    ratio = NormalizedRatio() if normalized else None
    folder = tmp_path_factory.mktemp("run")
    fit(
        grpo(
            rollout={"sampling": sampling, "guided_policy": policy, "tokens": tokens},
            update={"objective": FlowGRPOObjective(1e-2, 1e-2, kl_weight=0.0, ratio=ratio)},
        ),
        folder,
        2,
    )
    assert column(folder, "policy/ratio_first") == [1.0]
    assert column(folder, "policy/ratio_first_max") == [1.0]
    assert column(folder, "policy/ratio_max")[0] > 1  # the second update sees what the first has changed


def test_casts_of_half_precision_see_every_update(tmp_path: Path) -> None:
    kept, reward = Gradients(), Redness()
    model = grpo(reward)
    wake(model)
    before = weights(model)
    fit(model, tmp_path, 2, kept, precision="bf16-mixed")
    assert column(tmp_path, "policy/ratio_first_max") == [1.0]
    assert column(tmp_path, "policy/ratio_max")[0] > 1
    assert kept.found
    assert all(bool(gradient.any()) for name, gradient in kept.found.items() if "blocks.0" in name)
    assert not same(before, weights(model))
    assert {request.image.dtype for asked in reward.asked for request in asked} == {torch.float32}


def test_a_processor_that_emulates_bfloat16_is_told_before_a_model_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": "Old CPU"}, raising=False)
    model = grpo()
    with pytest.raises(UserError, match=r"precision is bf16-mixed, but Old CPU has no instructions for bfloat16"):
        fit(model, tmp_path, 2, awake=False, precision="bf16-mixed")
    assert model.transformer is None


def test_steps_that_do_not_fit_are_told_before_a_model_is_built(tmp_path: Path) -> None:
    model = grpo(rollout={"selection": RandomWindow(9)})
    with pytest.raises(UserError, match=r"(?s)window of 9 steps does not fit into a grid of 4 .*\n  shorten it"):
        fit(model, tmp_path, 2, awake=False)
    assert model.transformer is None


def test_a_budget_below_one_picture_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"takes \d+ tokens .* and 10 may be computed together; raise rollout.tokens"):
        fit(grpo(Redness(), rollout={"tokens": 10}), tmp_path, 2)


def test_a_shift_of_the_sampling_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match=r"rollouts follow their own shift, got time_shift 3.0; write it as shift"):
        grpo(Redness(), rollout={"sampling": Sampling(time_shift=3.0)})


@pytest.mark.parametrize("reuse", [Sampling(cache="forecast"), Sampling(guidance_every=2)])
def test_a_cache_is_not_passed_over(reuse: Sampling) -> None:
    with pytest.raises(ValueError, match=r"rollouts compute every step; leave sampling.cache and"):
        grpo(Redness(), rollout={"sampling": reuse})


def first_gradient(folder: Path, rollout_tokens: int, update_tokens: int | None) -> dict[str, Tensor]:
    kept = Gradients()
    fit(
        grpo(
            rollout={"tokens": rollout_tokens}, update={"updates": 1, "tokens": update_tokens, "max_norm": 1e9}, kl=0.1
        ),
        folder,
        1,
        kept,
    )
    return kept.found


@settings(max_examples=4, deadline=None)
@given(tokens=st.integers(90, 400))
def test_a_batch_cut_by_a_token_budget_gives_the_same_gradient(
    tokens: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    whole, cut = first_gradient(folder, 10_000, None), first_gradient(folder, 10_000, tokens)
    assert whole.keys() == cut.keys()
    assert any(bool(gradient.any()) for gradient in whole.values())
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, atol=1e-6, rtol=1e-3)


def test_pictures_and_their_groups_stay_together(tmp_path: Path) -> None:
    reward = Redness()
    model = grpo(reward, rollout={"tokens": 200, "groups": 3, "members": 3})
    fit(model, tmp_path, 4, data=prompts(asked={"edit": 1.0}))
    requests = [request for call in reward.asked for request in call]
    assert len(requests) == 2 * 9
    plan = [member.prompt for iteration in (0, 1) for member in model._sampler().plan(iteration)[0]]
    assert [request.key.split()[0] for request in requests] == [f"prompt:{number}" for number in plan]
    for request, number in zip(requests, plan, strict=True):
        example = prompts(asked={"edit": 1.0}).prompt(number)
        assert (request.prompt, request.meta) == (example.instruction, example.meta)
        assert torch.equal(request.references[0], example.references[0])


def started(tmp_path: Path) -> str:
    """Weights to start from, whose velocity is not zero."""
    folder = tmp_path / "start"
    folder.mkdir()
    save_plain_transformer(wake(grpo()).dit, folder)
    return str(folder)


@pytest.mark.parametrize(
    ("lora", "precision"), [(None, "32-true"), (LoRA(rank=2), "32-true"), (None, "bf16-true"), (None, "bf16-mixed")]
)
def test_the_kl_is_from_the_start_weights(lora: LoRA | None, precision: str, tmp_path: Path) -> None:
    model = grpo(kl=1e-6, part=TransformerPart(lora=lora), weights=started(tmp_path), update={"updates": 1}, lr=1e-2)
    fit(model, tmp_path, 3, awake=False, precision=precision)
    start, *later = column(tmp_path, "policy/kl")
    assert start == 0
    assert all(value > 0 for value in later)
    assert column(tmp_path, "policy/ratio_first_max") == [1.0] * 3
    trained = {name for name, value in model.dit.named_parameters() if value.requires_grad}
    assert trained
    assert all(is_adapter(name) == (lora is not None) for name in trained)


def test_adapters_have_no_dropout() -> None:
    with pytest.raises(ValueError, match="a policy with dropout differs from itself"):
        grpo(part=TransformerPart(CONFIG, lora=LoRA(dropout=0.1)))


def test_nothing_is_learned_from_rewards_that_are_all_the_same(tmp_path: Path) -> None:
    class Same(Redness):
        def one(self, request: Any) -> Any:
            return super().one(request.__class__("", torch.zeros(3, 4, 4)))

    kept = Gradients()
    fit(grpo(Same()), tmp_path, 2, kept)
    assert not any(bool(gradient.any()) for gradient in kept.found.values())
    assert column(tmp_path, "groups/constant_share") == [1.0]


def test_a_simple_reward_rises(tmp_path: Path) -> None:
    asked = {"text_to_image": 1.0}
    model = grpo(lr=3e-3, rollout={"groups": 4, "members": 8}, rewards={"watched": {"blue": Watched(Blueness())}})
    fit(model, tmp_path, 40, data=prompts(asked=asked, prompts=8))
    rewards = column(tmp_path, "reward/mean")
    spread = column(tmp_path, "reward/std")[0]
    blue = column(tmp_path, "watched/blue")
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + spread
    assert sum(blue[-3:]) < sum(blue[:3])
    assert set(column(tmp_path, "policy/ratio_first")) == {1.0}


def test_what_is_logged(tmp_path: Path) -> None:
    fit(grpo(kl=0.01), tmp_path, 2)
    (row,) = [row for row in read_metrics(tmp_path) if "reward/mean" in row]
    assert {
        "reward/std", "invalid/share", "groups/kept", "groups/dropped", "groups/constant_share", "policy/clipped_low",
        "policy/clipped_high", "policy/approx_kl", "policy/kl", "policy/gradient_norm", "advantage/q000",
        "advantage/q050", "advantage/q100", "seconds/rollout", "seconds/reward", "seconds/update",
    } <= row.keys()  # fmt: skip
    assert any(name.startswith("reward/") and name.endswith("/red") for name in row)
    assert row["advantage/q000"] < 0 < row["advantage/q100"]


def test_a_validation_without_prompts_of_the_trained_tasks_is_told(tmp_path: Path) -> None:
    data = prompts(asked={"text_to_image": 1.0}, families={"edit": 1.0})
    model = grpo(rewards={"trained": {"text_to_image": Redness()}})
    with pytest.warns(UserWarning, match="no validation prompt asks for text_to_image"):
        fit(model, tmp_path, 2, data=data, limit_val_batches=1, val_check_interval=1)
    assert column(tmp_path, "eval/reward") == []
