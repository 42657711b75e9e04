"""A whole roll-out and its loss, against the official RL code with a small transformer."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from omnigen2.dit import DiffusionTransformer, TransformerConfig, patchify, released_key, unpatchify
from omnigen2.encoders import FluxVAE
from omnigen2.flow import (
    FlowGRPONoise,
    GuidanceSchedule,
    SquareRootShift,
    TextImageGuidance,
    Trajectory,
    VelocityModel,
    time_grid,
)
from omnigen2.generate.branches import BRANCHES, EncodedSample, PackedBranches
from omnigen2.layout import ImageSegment
from omnigen2.rl import FlowGRPOObjective, Rollout, UnscaledKL
from tests.parity.cases import procedural
from tests.rl.cases import official_kl, parity

CONFIG = TransformerConfig(
    hidden_size=48, num_layers=2, num_refiner_layers=1, num_heads=6, num_kv_heads=2, axes=(4, 2, 2), in_channels=4,
    text_dim=16, multiple_of=16, ffn_multiplier=0.5,
)  # fmt: skip


def networks(
    tensors: dict[str, Tensor], perturbation: dict[str, Any]
) -> tuple[DiffusionTransformer, DiffusionTransformer]:
    """The policy that drew, and the perturbed one."""
    old, new = DiffusionTransformer(CONFIG), DiffusionTransformer(CONFIG)
    stored = {name: tensors[f"weights.{released_key(name)}"] for name in old.state_dict()}
    old.load_state_dict(stored)
    wanted = {key: perturbation[key] for key in ("seed", "mean", "std")}
    new.load_state_dict({k: v + procedural(**wanted, shape=list(v.shape)) for k, v in stored.items()})
    return old, new


def samples(tensors: dict[str, Tensor]) -> tuple[EncodedSample, ...]:
    lengths, negatives = tensors["inputs.prompt_mask"].sum(1), tensors["inputs.negative_mask"].sum(1)
    references = (("inputs.ref.0.0",), (), ("inputs.ref.2.0", "inputs.ref.2.1"))
    return tuple(
        EncodedSample(
            text=tensors["inputs.prompt_embeds"][i, : lengths[i]],
            negative=tensors["inputs.negative_embeds"][i, : negatives[i]],
            references=tuple(tensors[name] for name in references[i]),
            noise=tensors[f"inputs.latent.{i}"],
        )
        for i in range(3)
    )


def models(
    dit: DiffusionTransformer, batch: tuple[EncodedSample, ...], index: Tensor, settings: dict[str, Any]
) -> tuple[VelocityModel, ...]:
    guidance = TextImageGuidance(settings["text_guidance_scale"], settings["image_guidance_scale"])
    guided = guidance(PackedBranches(dit, batch, BRANCHES[3]), index)
    plain = PackedBranches(dit, batch, BRANCHES[1])
    return GuidanceSchedule(*settings["cfg_range"]).models(guided, plain, settings["num_steps"])


def test_parity_rl_end_to_end() -> None:
    """Log-probabilities, means, losses and gradients at three steps, with the official KL and with the one of ours.

    The official mean over tokens counts padding, which adds nothing but to the divisor: ours times the share of real
    tokens is theirs.
    """
    tensors, case, tolerance = parity("rl_end_to_end")
    settings = case["hyperparameters"]
    mask = tensors["outputs.img_mask"]
    tokens = tuple(mask.sum(1).tolist())
    index = torch.repeat_interleave(torch.arange(3), torch.tensor(tokens))
    batch = samples(tensors)
    old, new = networks(tensors, settings["perturbation"])
    steps, level = settings["num_steps"], FlowGRPONoise(settings["sigma_coef"])
    times = time_grid(steps, SquareRootShift(settings["time_shift_base_res"] / 16), tokens)
    torch.testing.assert_close(times.T.contiguous(), tensors["outputs.timesteps_full"], **tolerance)
    torch.testing.assert_close(
        torch.cat([patchify(sample.noise, 2) for sample in batch]), tensors["outputs.latents"][0][mask]
    )
    states = torch.stack([latents[mask] for latents in tensors["outputs.latents"]])
    compare_drawn(states[-1].split(tokens), tensors, settings["image_latent_sizes_hw"], tolerance)
    walk = Trajectory(times, states, tensors["outputs.log_prob"].T.contiguous(), tuple(range(steps)))
    rollout = Rollout(walk, tokens, (0, 0, 0), level)
    policies, references = models(new, batch, index, settings), models(old, batch, index, settings)
    advantages = tensors["inputs.advantages"]
    for _, step in rollout.steps():
        with torch.no_grad():
            reference = rollout.score(references[step.index], step)
        torch.testing.assert_close(reference.log_prob(step.x_next), step.log_prob, **tolerance)
        drawn = reference.mean + reference.std[index][:, None] * tensors["inputs.noise"][step.index][mask]
        torch.testing.assert_close(drawn, step.x_next, **tolerance)
        if step.index not in [own["step"] for own in settings["steps"]]:
            continue
        policy = rollout.score(policies[step.index], step)
        name = f"outputs.step{step.index}"
        sigma = level(times[step.index].double(), times[step.index + 1].double()).float()
        torch.testing.assert_close(sigma.square(), tensors[f"{name}.sigma2"], **tolerance)
        torch.testing.assert_close(policy.mean, tensors[f"{name}.mean"][mask], **tolerance)
        torch.testing.assert_close(reference.mean, tensors[f"{name}.ref_mean"][mask], **tolerance)
        torch.testing.assert_close(policy.log_prob(step.x_next), tensors[f"{name}.log_prob"], **tolerance)
        objective = FlowGRPOObjective(*settings["clip_range"], settings["adv_clip_max"], kl_weight=0)
        out = objective(policy, step, advantages, reference=reference)
        torch.testing.assert_close(out.policy_loss[None], tensors[f"{name}.policy_loss"], **tolerance)
        for divergence, variant in ((official_kl, ""), (UnscaledKL(), "_per_sample_variant")):
            kl = (divergence(policy, reference, step) * torch.tensor(tokens) / mask.shape[1]).mean()
            torch.testing.assert_close(kl[None], tensors[f"{name}.kl{variant}"], **tolerance)
            loss = out.loss + settings["kl_weight"] * kl
            torch.testing.assert_close(loss[None], tensors[f"{name}.loss{variant}"], **tolerance)
            compare_gradients(
                new, loss, {k: v for k, v in tensors.items() if k.startswith(f"grads{variant}.{name[8:]}.")}
            )


def compare_drawn(
    drawn: Sequence[Tensor], tensors: dict[str, Tensor], sizes: list[list[int]], tolerance: dict[str, float]
) -> None:
    """What the autoencoder is given: last states as latents, unscaled by FLUX's numbers."""
    vae = FluxVAE(FluxNumbers())
    for number, (tokens, (height, width)) in enumerate(zip(drawn, sizes, strict=True)):
        latent = unpatchify(tokens, ImageSegment(height // 2, width // 2, "target"), 2)
        torch.testing.assert_close(vae.unscaled(latent), tensors[f"outputs.decoded_latent.{number}"], **tolerance)


class FluxNumbers(torch.nn.Module):
    """As much of an autoencoder as its scale and shift need."""

    config = SimpleNamespace(scaling_factor=0.3611, shift_factor=0.1159, latent_channels=4, block_out_channels=(8,) * 4)


def compare_gradients(dit: DiffusionTransformer, loss: Tensor, expected: dict[str, Tensor]) -> None:
    """Within the manifest's tolerance: 0.5 % and 1e-3 of the largest entry, and of the variant that of everything."""
    parameters = {released_key(name): parameter for name, parameter in dit.named_parameters()}
    wanted = {name: name.split(".", 2)[2] for name in expected}
    assert wanted
    found = torch.autograd.grad(
        loss, [parameters[key] for key in wanted.values()], retain_graph=True, allow_unused=True
    )
    for name, actual in zip(wanted, found, strict=True):
        actual = torch.zeros_like(expected[name]) if actual is None else actual
        rtol, atol = (5e-3, 1e-3 * expected[name].abs().max().item()) if name.startswith("grads.") else (2e-3, 5e-4)
        torch.testing.assert_close(
            actual, expected[name], rtol=rtol, atol=atol, msg=lambda text, name=name: f"{name}: {text}"
        )
