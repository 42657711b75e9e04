"""The benchmarks in miniature, judged by rules."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.evaluation.metrics import SUBTASKS
from omnigen2.microworld import draw, full_vocabulary, sample_caption, sample_context, sample_edit
from omnigen2.microworld.runs.scores import micro_judge, micro_scores
from omnigen2.microworld.tasks import CONTEXT_KINDS, EDIT_KINDS, TAGS, DrawingTask
from omnigen2.microworld.world.scene import COLOURS

SIZE = 32


def tasks_of(seed: int) -> list[DrawingTask]:
    """One task of every tag and kind."""
    rng, vocabulary = np.random.default_rng(seed), full_vocabulary(SIZE)
    return [
        *(sample_caption(vocabulary, rng, tag) for tag in TAGS),
        *(sample_edit(vocabulary, rng, kind) for kind in EDIT_KINDS),
        *(sample_context(vocabulary, rng, kind) for kind in CONTEXT_KINDS),
    ]


def perfect(task: DrawingTask) -> torch.Tensor:
    return draw(task.target, SIZE)


@given(seed=st.integers(0, 2**32 - 1))
def test_perfect_pictures_have_the_highest_scores(seed: int) -> None:
    tasks = tasks_of(seed)
    scores = micro_scores(tasks, [perfect(task) for task in tasks])
    assert scores["geneval"].result.values == {"correct": 1}
    assert scores["geneval_graded"].result.values == {"graded": 1}
    assert scores["edit"].result.values == {"SC": 10, "PQ": 10, "O": 10}
    assert set(scores["omnicontext"].result.values.values()) == {10}
    assert scores["edit_exact"].result.values == scores["omnicontext_exact"].result.values == {"exact": 1}
    assert all(summary.result.complete for summary in scores.summaries.values())


@given(seed=st.integers(0, 2**32 - 1))
def test_copying_the_source_preserves_everything_and_succeeds_in_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tasks = [sample_edit(full_vocabulary(SIZE), rng, kind) for kind in EDIT_KINDS if kind not in ("add", "remove")]
    scores = micro_scores(tasks, [draw(task.source, SIZE) for task in tasks])
    assert scores["edit"].result.values["PQ"] > scores["edit"].result.values["SC"]
    assert scores["edit_exact"].result.values["exact"] == 0


@given(seed=st.integers(0, 2**32 - 1))
def test_another_subject_costs_consistency_and_another_place_what_was_asked(seed: int) -> None:
    task = sample_context(full_vocabulary(SIZE), np.random.default_rng(seed), "single_object")
    (item,) = task.target.items
    colour = next(one for one in COLOURS if one not in (item.colour, task.target.background.tint))
    for other, kept in (
        (replace(item, colour=colour), "prompt_following"),
        (replace(item, row=1 - item.row), "subject_consistency"),
    ):
        parts = micro_judge(task, draw(replace(task.target, items=(other,)), SIZE)).parts
        assert parts[kept] == 10
        assert min(parts.values()) < 10


def test_noise_scores_nothing() -> None:
    tasks = tasks_of(0)
    noise = torch.rand(len(tasks), 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1
    scores = micro_scores(tasks, list(noise))
    assert scores["geneval"].result.values["correct"] == 0
    assert scores["edit"].result.values["O"] < 1
    assert scores["omnicontext"].result.values["overall"] < 1


def test_a_higher_tolerance_is_milder() -> None:
    tasks = tasks_of(1)
    generator = torch.Generator().manual_seed(0)
    blurred = [perfect(task) + 0.55 * torch.randn(3, SIZE, SIZE, generator=generator) for task in tasks]
    strict, mild = (micro_scores(tasks, blurred, tolerance) for tolerance in (0.1, 0.6))
    assert strict["omnicontext"].result.values["overall"] < mild["omnicontext"].result.values["overall"]


def test_what_is_missing_is_said_in_words() -> None:
    task = tasks_of(2)[0]
    judgement = micro_judge(task, torch.zeros(3, SIZE, SIZE))
    assert judgement.reason
    assert judgement.value == 0


def test_values_and_table_name_every_group_as_published() -> None:
    tasks = tasks_of(3)
    assert {task.group for task in tasks} == {*TAGS, *EDIT_KINDS, *SUBTASKS}
    scores = micro_scores(tasks, [perfect(task) for task in tasks])
    assert {f"geneval/{tag}/correct" for tag in TAGS} <= set(scores.values())
    assert all(name in scores.table() for name in (*TAGS, *EDIT_KINDS, *SUBTASKS))


def test_numbers_of_tasks_and_pictures_must_agree() -> None:
    with pytest.raises(ValueError, match="20 tasks and 1 pictures"):
        micro_scores(tasks_of(0), [torch.zeros(3, SIZE, SIZE)])
