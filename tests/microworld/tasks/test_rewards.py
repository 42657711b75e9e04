"""The rewards of the five tasks: perfect drawings get the most, and what cannot be scored is invalid."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.microworld import draw, full_vocabulary, sample_caption, sample_context, sample_edit
from omnigen2.microworld.tasks import (
    CONTEXT_KINDS,
    EDIT_KINDS,
    TAGS,
    MicroContextReward,
    MicroEditReward,
    MicroGenEvalReward,
    MicroGlyphReward,
    MicroPreferenceReward,
    looks_nice,
    to_json,
)
from omnigen2.microworld.tasks.rewards import MicroReward
from omnigen2.microworld.world import draw_glyphs, sample_glyphs
from omnigen2.rl import RewardError, RewardRequest, check_scores

SEEDS = st.integers(0, 2**32 - 1)
VOCABULARY = full_vocabulary(32)


def edit_request(seed: int, which: str = "target") -> RewardRequest:
    rng = np.random.default_rng(seed)
    task = sample_edit(VOCABULARY, rng, EDIT_KINDS[seed % len(EDIT_KINDS)])
    source = draw(task.source, 32)
    return RewardRequest(task.instruction, draw(getattr(task, which), 32), (source,), to_json(task), f"edit {seed}")


def caption_request(seed: int) -> RewardRequest:
    task = sample_caption(VOCABULARY, np.random.default_rng(seed), TAGS[seed % len(TAGS)])
    return RewardRequest(task.text, draw(task.scene, 32), (), to_json(task), f"caption {seed}")


def context_request(seed: int) -> RewardRequest:
    task = sample_context(VOCABULARY, np.random.default_rng(seed), CONTEXT_KINDS[seed % len(CONTEXT_KINDS)])
    references = tuple(draw(scene, 32) for scene in task.references)
    return RewardRequest(task.instruction, draw(task.target, 32), references, to_json(task), f"context {seed}")


def glyph_request(seed: int) -> RewardRequest:
    task = sample_glyphs(np.random.default_rng(seed))
    return RewardRequest(task.instruction, draw_glyphs(task, 32), (), to_json(task), f"glyphs {seed}")


HONEST = [
    (MicroEditReward(), edit_request),
    (MicroGenEvalReward("graded"), caption_request),
    (MicroGenEvalReward("strict"), caption_request),
    (MicroContextReward(), context_request),
    (MicroGlyphReward(), glyph_request),
]


def one(reward: MicroReward, request: RewardRequest) -> float:
    scores = check_scores(reward, [request], reward.score([request]))
    assert bool(scores.valid.all())
    return float(scores.value[0])


@given(SEEDS, st.sampled_from(HONEST))
def test_a_perfect_drawing_gets_the_most(seed: int, pair: tuple) -> None:
    reward, make = pair
    request = make(seed)
    scores = reward.score([request])
    assert float(scores.value[0]) == pytest.approx(1)
    assert scores.reason == ("",)
    assert {float(part[0]) for part in scores.parts.values()} <= {1.0}


@given(SEEDS, st.sampled_from(HONEST))
def test_noise_gets_little_and_says_what_is_missing(seed: int, pair: tuple) -> None:
    reward, make = pair
    request = make(seed)
    noise = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 0.5
    scores = reward.score([RewardRequest(request.prompt, noise, request.references, request.meta)])
    assert float(scores.value[0]) <= 0.5
    assert scores.reason[0]


@given(SEEDS)
def test_a_copy_of_the_source_is_no_edit(seed: int) -> None:
    scores = MicroEditReward().score([edit_request(seed, "source")])
    assert float(scores.value[0]) == 0
    assert float(scores.parts["preservation"][0]) > 0


@given(st.lists(SEEDS, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_scores_follow_their_requests(seeds: list[int], random: object) -> None:
    requests = [edit_request(seed, "target" if i % 2 else "source") for i, seed in enumerate(seeds)]
    order = list(range(len(requests)))
    random.shuffle(order)
    straight = MicroEditReward().score(requests)
    shuffled = MicroEditReward().score([requests[i] for i in order])
    assert torch.equal(shuffled.value, straight.value[order])


@given(SEEDS, st.floats(0.05, 0.4))
def test_strict_is_all_of_graded(seed: int, noise: float) -> None:
    request = caption_request(seed)
    blurred = request.image + noise * torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(seed))
    changed = RewardRequest(request.prompt, blurred, (), request.meta)
    graded, strict = one(MicroGenEvalReward(), changed), one(MicroGenEvalReward("strict"), changed)
    assert strict == float(graded == 1)


def test_a_higher_tolerance_reads_worse_drawings() -> None:
    request = caption_request(6)
    faded = RewardRequest("", request.image * 0.7 + 0.25 * request.image.roll(1, -1), (), request.meta)
    assert one(MicroGenEvalReward(tolerance=0.9), faded) > one(MicroGenEvalReward(tolerance=0.001), faded)


def test_the_preference_is_hacked_by_checks() -> None:
    checks = torch.ones(3, 32, 32)
    checks[:, ::2, ::2] = checks[:, 1::2, 1::2] = -1
    request = caption_request(0)
    honest, hacked = one(MicroPreferenceReward(), request), one(MicroPreferenceReward(), RewardRequest("", checks))
    assert hacked == pytest.approx(looks_nice(checks))
    assert hacked > honest
    assert one(MicroGenEvalReward(), RewardRequest("", checks, (), request.meta)) < one(MicroGenEvalReward(), request)


@pytest.mark.parametrize("reward", [*(reward for reward, _ in HONEST), MicroPreferenceReward()])
def test_pictures_that_cannot_be_scored_are_invalid(reward: MicroReward) -> None:
    broken = torch.full((3, 32, 32), math.nan)
    scores = reward.score([RewardRequest("", broken), RewardRequest("", torch.zeros(3, 32, 16))])
    assert scores.causes() == {"bad picture": 2}
    assert set(scores.parts) == set(reward.part_names)


def test_data_that_do_not_fit_the_reward_are_refused() -> None:
    with pytest.raises(RewardError, match="caption 1 is a task of kind 'caption', this reward is for 'edit'"):
        MicroEditReward().score([caption_request(1)])
    with pytest.raises(RewardError, match="<sample> has no micro-world task"):
        MicroGlyphReward().score([RewardRequest("x", torch.zeros(3, 32, 32))])
