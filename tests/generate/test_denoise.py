"""The denoising loop: the official numbers, and packed guidance against separate calls."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.dit import DiffusionTransformer, Inputs, TransformerConfig, patchify, released_key
from omnigen2.dit.patch import segment
from omnigen2.flow import SquareRootShift
from omnigen2.generate.branches import BRANCHES, EncodedSample, PackedBranches
from omnigen2.generate.denoise import denoise
from omnigen2.generate.request import Sampling, SolverName
from omnigen2.layout import Layout, TextSegment

from .parity import case, check, decoder_input

CONFIG = TransformerConfig(
    hidden_size=48,
    num_layers=2,
    num_refiner_layers=1,
    num_heads=6,
    num_kv_heads=2,
    axes=(4, 2, 2),
    in_channels=4,
    text_dim=32,
    multiple_of=32,
)
SOLVERS: dict[str, SolverName] = {"euler": "euler", "dpm": "dpm2"}


def official() -> tuple[DiffusionTransformer, dict[str, Tensor], dict[str, Any], dict[str, float]]:
    tensors, entry, tolerance = case("pipeline_denoise")
    dit = DiffusionTransformer(CONFIG)
    names = {name: f"weights.{released_key(name)}" for name in dit.state_dict()}
    dit.load_state_dict({ours: tensors[theirs] for ours, theirs in names.items()})
    assert set(names.values()) == {name for name in tensors if name.startswith("weights.")}
    return dit, tensors, entry, tolerance


def trained(seed: int = 0) -> DiffusionTransformer:
    """A transformer whose velocity is not zero."""
    dit = DiffusionTransformer(CONFIG)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in dit.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return dit


def sample(seed: int, references: list[tuple[int, int]], height: int, width: int, text: int = 5) -> EncodedSample:
    generator = torch.Generator().manual_seed(seed)

    def latent(size: tuple[int, int]) -> Tensor:
        return torch.randn(CONFIG.in_channels, *(2 * side for side in size), generator=generator)

    return EncodedSample(
        text=torch.randn(text, CONFIG.text_dim, generator=generator),
        negative=torch.randn(3, CONFIG.text_dim, generator=generator),
        references=tuple(latent(size) for size in references),
        noise=latent((height, width)),
    )


@pytest.mark.parametrize("run", case("pipeline_denoise")[1]["hyperparameters"]["runs"], ids=lambda run: run["run"])
def test_the_loop_gives_the_latents_of_the_official_pipeline(run: dict[str, Any]) -> None:
    dit, tensors, entry, tolerance = official()
    lengths, negatives = tensors["inputs.prompt_mask"].sum(1), tensors["inputs.negative_mask"].sum(1)
    references = (("inputs.ref.0.0",), ("inputs.ref.1.0", "inputs.ref.1.1"))
    samples = [
        EncodedSample(
            text=tensors["inputs.prompt_embeds"][i, : lengths[i]],
            negative=tensors["inputs.negative_embeds"][i, : negatives[i]],
            references=tuple(tensors[name] for name in references[i]) if run["with_refs"] else (),
            noise=tensors["inputs.x_init"][i],
        )
        for i in range(2)
    ]
    sampling = Sampling(
        steps=run["num_steps"],
        text_scale=run["text_guidance_scale"],
        image_scale=run["image_guidance_scale"],
        guidance_interval=tuple(run["cfg_range"]),
        solver=SOLVERS[run["scheduler"]],
    )
    latents = torch.stack(denoise(dit, samples, sampling, SquareRootShift()))
    name = run["run"]
    check(latents, tensors[f"outputs.{name}.latent"], tolerance, f"{name} latent")
    check(decoder_input(latents, entry), tensors[f"outputs.{name}.decoded_latent"], tolerance, name)


sides = st.integers(1, 3)
batches = st.lists(
    st.builds(
        sample,
        seed=st.integers(0, 2**31),
        references=st.lists(st.tuples(sides, sides), max_size=3),
        height=sides,
        width=sides,
        text=st.integers(0, 4),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=10)
@given(batch=batches, t=st.floats(0, 1))
def test_packed_branches_equal_separate_calls(batch: list[EncodedSample], t: float) -> None:
    dit = trained()
    packed = PackedBranches(dit, tuple(batch), BRANCHES[3])
    noise = torch.cat([patchify(own.noise, 2) for own in batch])
    together = packed(noise.repeat(3, 1), torch.full((3 * len(batch),), t)).unflatten(0, (3, -1))
    for branch, found in zip(BRANCHES[3], together, strict=True):
        alone = [separate(dit, own, branch != "conditional", branch != "unconditional", t) for own in batch]
        torch.testing.assert_close(found, torch.cat(alone), rtol=1e-4, atol=1e-4)


def separate(dit: DiffusionTransformer, own: EncodedSample, negative: bool, shown: bool, t: float) -> Tensor:
    """One branch of one sample in a call of its own, without `prepare`."""
    text = own.negative if negative else own.text
    references = own.references if shown else ()
    segments = [TextSegment(text.shape[0])] if text.shape[0] else []
    segments += [segment(latent, 2, "reference") for latent in references]
    layout = Layout(((*segments, segment(own.noise, 2, "target")),))
    patches = torch.cat([torch.empty(0, CONFIG.patch_channels), *(patchify(latent, 2) for latent in references)])
    return dit(patchify(own.noise, 2), torch.tensor([t]), Inputs(layout, text, patches))


def test_the_same_branches_are_computed_once() -> None:
    """Without references the reference branch is the unconditional one."""
    batch = (sample(0, [], 2, 2), sample(1, [(1, 1)], 2, 2))
    assert len(PackedBranches(trained(), batch, BRANCHES[3]).rows) == 5


@settings(max_examples=10)
@given(
    sizes=st.lists(st.tuples(sides, sides), min_size=2, max_size=4),
    references=st.lists(st.tuples(sides, sides), max_size=2),
    keep=st.booleans(),
    companion=st.booleans(),
)
def test_samples_share_what_is_the_very_same(
    sizes: list[tuple[int, int]], references: list[tuple[int, int]], keep: bool, companion: bool
) -> None:
    """Texts always; references at one size, since they are refined at the time of their sample."""
    dit, first = trained(), sample(0, references, 1, 1)
    shared = [replace(first, noise=sample(seed, [], *size).noise) for seed, size in enumerate(sizes)]
    copied = [
        replace(
            own,
            text=own.text.clone(),
            negative=own.negative.clone(),
            references=tuple(latent.clone() for latent in own.references),
        )
        for own in shared
    ]
    packed = PackedBranches(dit, tuple(shared), BRANCHES[3], keep, companion)
    noise = torch.cat([patchify(own.noise, 2) for own in shared]).repeat(3, 1)
    times = torch.tensor([height * width / 10 for height, width in sizes]).repeat(3)
    apart = PackedBranches(dit, tuple(copied), BRANCHES[3])
    torch.testing.assert_close(packed(noise, times), apart(noise, times), rtol=1e-5, atol=1e-5)
    layout = packed.inputs.layout
    assert len(layout.segments("text").lengths) == 2
    wanted = len(set(sizes)) * len(references)
    assert len(layout.segments("reference").lengths) == wanted or (companion and not references)


@settings(max_examples=6)
@given(
    batch=batches, solver=st.sampled_from(["euler", "heun", "dpm2", "dpm3"]), image_scale=st.sampled_from([1.0, 2.0])
)
def test_a_sample_does_not_depend_on_its_batch(
    batch: list[EncodedSample], solver: SolverName, image_scale: float
) -> None:
    dit, sampling = trained(), Sampling(steps=3, text_scale=2, image_scale=image_scale, solver=solver)
    together = denoise(dit, batch, sampling, SquareRootShift())
    for own, found in zip(batch, together, strict=True):
        (alone,) = denoise(dit, [own], sampling, SquareRootShift())
        torch.testing.assert_close(found, alone, rtol=1e-3, atol=1e-3)


def test_steps_outside_the_interval_cost_one_branch() -> None:
    dit = trained()
    tokens: list[int] = []
    dit.register_forward_hook(lambda module, inputs, velocity: tokens.append(velocity.shape[0]))
    batch = [sample(0, [(1, 1)], 2, 3)]
    denoise(dit, batch, Sampling(steps=4, image_scale=2, guidance_interval=(0.25, 0.5)), SquareRootShift())
    assert tokens == [6, 18, 18, 6]
    with_text_alone = Sampling(steps=1, image_scale=2, text_scale=1)
    denoise(dit, [replace(batch[0], text=torch.empty(0, CONFIG.text_dim))], with_text_alone, SquareRootShift())
    assert tokens[4:] == [6]


def test_what_does_not_depend_on_the_time_is_prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    dit = trained()
    prepared: list[int] = []
    prepare = dit.prepare

    def counting(inputs: Inputs) -> object:
        assert inputs.joint is not None
        prepared.append(len(inputs.joint))
        return prepare(inputs)

    monkeypatch.setattr(dit, "prepare", counting)
    batch = [sample(0, [(1, 1)], 1, 2), sample(1, [], 1, 1)]
    denoise(dit, batch, Sampling(steps=5, image_scale=2), SquareRootShift())
    assert prepared == [5]
    denoise(dit, batch, Sampling(steps=5, guidance_interval=(0.3, 0.7)), SquareRootShift())
    assert sorted(prepared[1:]) == [2, 4]


def test_progress_is_told_after_each_step() -> None:
    told: list[tuple[int, int]] = []
    denoise(trained(), [sample(0, [], 1, 1)], Sampling(steps=3), SquareRootShift(), lambda *at: told.append(at))
    assert told == [(1, 3), (2, 3), (3, 3)]
