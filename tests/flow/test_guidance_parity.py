"""Guided velocities of the official pipeline, from given predictions of its network."""

import math

import pytest
import torch
from torch import Tensor

from omnigen2.flow import EulerSolver, FixedShift, VelocityModel, time_grid
from omnigen2.flow.model import call_model
from omnigen2.generate.branches import BRANCHES
from omnigen2.generate.request import Sampling
from tests.generate.parity import case, check, decoder_input

TENSORS, ENTRY, TOLERANCE = case("guidance")
RUNS = {run["run"]: run for run in ENTRY["hyperparameters"]["runs"]}


class Recorded:
    """Answers at its n-th call with the predictions of step n, and notes which branches were asked for."""

    def __init__(self, with_refs: bool, branches: int) -> None:
        ours = {"conditional": "pos_ref" if with_refs else "pos_noref"}
        ours |= {"reference": "neg_ref", "unconditional": "neg_noref"}
        self.names = [ours[branch] for branch in BRANCHES[branches]]

    def at(self, step: int) -> VelocityModel:
        velocities = torch.cat([TENSORS[f"inputs.pred_{name}"][step] for name in self.names])
        return lambda x_t, t: velocities


@pytest.mark.parametrize("name", RUNS)
def test_the_same_branches_and_the_same_combined_velocity(name: str) -> None:
    run, steps, noise = RUNS[name], ENTRY["hyperparameters"]["num_steps"], TENSORS["inputs.x_init"]
    sampling = Sampling(
        steps=steps,
        text_scale=run["text_guidance_scale"],
        image_scale=run["image_guidance_scale"],
        guidance_interval=tuple(run["cfg_range"]),
    )
    samples, guidance = torch.arange(noise.shape[0]), sampling.guidance(run["with_refs"])
    guided = Recorded(run["with_refs"], 1 if guidance is None else guidance.num_branches)
    plain = Recorded(run["with_refs"], 1)
    models: list[VelocityModel] = []
    for step, evaluated in enumerate(run["branches_evaluated_per_step"]):
        inside = guidance(guided.at(step), samples) if guidance is not None else plain.at(step)
        model = sampling.schedule().models(inside, plain.at(step), steps)[step]
        assert evaluated == (guided if model is inside else plain).names
        combined = call_model(model, noise, torch.zeros(noise.shape[0]))
        check(combined, TENSORS[f"outputs.{name}.combined"][step], TOLERANCE, f"{name}, step {step}")
        models.append(model)
    shift = FixedShift(math.sqrt(noise.shape[2] * noise.shape[3]) / 40)
    times = time_grid(steps, shift, [1] * noise.shape[0])
    latent: Tensor = EulerSolver().solve(models, noise, times, samples)
    check(decoder_input(latent, ENTRY), TENSORS[f"outputs.{name}.decoded_latent"], TOLERANCE, name)
