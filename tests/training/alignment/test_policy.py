"""The policy as velocities: pictures share their prompts, processes run as many parts, merged adapters are the same."""

from pathlib import Path

import pytest
import torch

from omnigen2.adapters import LoRA, adapters_disabled
from omnigen2.generate import BRANCHES, PackedBranches
from omnigen2.training.alignment.policy import even_parts
from omnigen2.training.parts import TransformerPart, save_plain_transformer
from tests.training.flow_parts import CONFIG, wake
from tests.training.grpo_parts import grpo, prompts, weights


@pytest.mark.parametrize("branches", [1, 3])
def test_pictures_that_share_their_prompt_are_as_if_each_had_its_own(branches: int) -> None:
    model = wake(grpo())
    examples = [prompts(asked={family: 1.0}).prompt(0) for family in ("edit", "text_to_image", "in_context")]
    samples = [sample for sample in model.encoder.samples(examples) for _ in range(2)]
    apart = tuple(model.encoder.samples([example for example in examples for _ in range(2)]))
    rows = branches * sum(target.tokens for target in PackedBranches(model.dit, apart, BRANCHES[1]).targets)
    x_t = torch.randn(rows // branches, model.dit.config.patch_channels).repeat(branches, 1)
    t = torch.full((branches * len(apart),), 0.3)
    with torch.no_grad():
        alone = PackedBranches(model.dit, apart, BRANCHES[branches])
        expected = alone(x_t, t)
        for keep in (True, False):
            shared = PackedBranches(model.dit, tuple(samples), BRANCHES[branches], keep)
            torch.testing.assert_close(shared(x_t, t), expected, atol=1e-5, rtol=1e-4)
            assert shared.inputs.layout.tokens < alone.inputs.layout.tokens


@pytest.mark.parametrize("keep", [True, False])
def test_a_companion_changes_no_velocity_and_reaches_every_parameter(keep: bool) -> None:
    model = wake(grpo())
    (sample,) = model.encoder.samples([prompts(asked={"text_to_image": 1.0}).prompt(0)])
    samples = (sample, sample)
    alone = PackedBranches(model.dit, samples, BRANCHES[2], keep)
    beside = PackedBranches(model.dit, samples, BRANCHES[2], keep, companion=True)
    x_t, t = torch.randn(4 * 16, model.dit.config.patch_channels), torch.full((4,), 0.4)
    x_t[32:] = x_t[:32]
    torch.testing.assert_close(beside(x_t, t), alone(x_t, t), atol=1e-5, rtol=1e-4)
    beside(x_t, t).sum().backward()
    without = [name for name, value in model.dit.named_parameters() if value.grad is None and "index" not in name]
    assert not without


def test_parts_are_split_until_there_are_enough() -> None:
    for least in range(1, 7):
        found = even_parts([range(0, 5), range(5, 6)], least)
        assert len(found) == max(least, 2)
        assert [number for part in found for number in part] == list(range(6))
        assert all(found)


def test_merged_adapters_answer_as_adapters_do(tmp_path: Path) -> None:
    model = wake(grpo(part=TransformerPart(CONFIG, lora=LoRA(rank=2, alpha=6))))
    save_plain_transformer(model.dit, tmp_path)
    plain = grpo(part=TransformerPart(), weights=str(tmp_path))
    plain.configure_model()
    samples = tuple(model.encoder.samples([prompts(asked={"edit": 1.0}).prompt(0)]))
    x_t, t = torch.randn(16, model.dit.config.patch_channels), torch.tensor([0.3])
    with torch.no_grad():
        found = PackedBranches(plain.dit, samples, BRANCHES[1], keep=False)(x_t, t)
        adapted = PackedBranches(model.dit, samples, BRANCHES[1], keep=False)
        torch.testing.assert_close(found, adapted(x_t, t), atol=1e-5, rtol=1e-4)
        with adapters_disabled(model.dit):
            assert not torch.allclose(found, adapted(x_t, t), atol=1e-4)
    new = grpo()
    new.configure_model()
    assert weights(plain).keys() == weights(new).keys()
