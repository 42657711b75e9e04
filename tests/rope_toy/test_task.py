from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.dit.patch import unpatchify
from omnigen2.layout import ImageSegment, TextSegment, unpack
from omnigen2.rope_toy.data import EVALUATIONS, ToyData
from omnigen2.rope_toy.sources import PlaneWaves
from omnigen2.rope_toy.task import CopyTask, ToyBatch

WAVES = PlaneWaves()
TASK = CopyTask()

tasks = st.builds(
    CopyTask,
    references=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    sides=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    asked=st.none() | st.integers(1, 5),
    text_tokens=st.integers(1, 5),
    patch_size=st.integers(1, 3),
)


def same(a: ToyBatch, b: ToyBatch) -> bool:
    tensors = [(a.references, b.references), (a.target, b.target), (a.asked, b.asked)]
    equal = all(x.shape == y.shape and torch.equal(x, y) for x, y in tensors)
    return equal and a.layout == b.layout and a.seed == b.seed


@given(task=tasks, samples=st.integers(1, 5), seed=st.integers(0, 2**40), step=st.integers(0, 2**40))
def test_law_a_batch_is_a_pure_function_of_its_key(task: CopyTask, samples: int, seed: int, step: int) -> None:
    torch.manual_seed(0)
    first = task.batch(WAVES, "train", samples, (seed, step))
    torch.manual_seed(1)
    assert same(first, task.batch(WAVES, "train", samples, (seed, step)))
    assert not same(first, task.batch(WAVES, "train", samples, (seed, step + 1)))
    assert not same(first, task.batch(WAVES, "train", samples, (seed + 1, step)))


@given(task=tasks, samples=st.integers(1, 5), seed=st.integers(0, 2**40))
def test_law_the_layout_matches_and_the_target_is_the_asked_reference(task: CopyTask, samples: int, seed: int) -> None:
    batch = task.batch(WAVES, "train", samples, (seed,))
    layout = batch.layout
    references = iter(unpack(batch.references, layout.segments("reference")))
    targets = unpack(batch.target, layout.segments("target"))
    assert len(layout) == samples
    for sample, asked, target in zip(layout.batch, batch.asked.tolist(), targets, strict=True):
        text, *pictures, wanted = sample
        assert text == TextSegment(task.text_tokens)
        assert len(pictures) in task.references
        assert asked < min(len(pictures), task.max_asked)
        tokens = [next(references) for _ in pictures]
        assert torch.equal(tokens[asked], target)
        for picture in (*pictures, wanted):
            assert isinstance(picture, ImageSegment)
            assert {picture.height, picture.width} <= set(task.sides)
        assert (wanted.height, wanted.width) == (pictures[asked].height, pictures[asked].width)
        pixels = unpatchify(target, wanted, task.patch_size)
        assert pixels.shape == (3, wanted.height * task.patch_size, wanted.width * task.patch_size)
    assert next(references, None) is None


def test_all_choices_occur_about_equally_often() -> None:
    batch = TASK.batch(WAVES, "train", 600, (0,))
    counts = [len(sample) - 2 for sample in batch.layout.batch]
    assert set(counts) == {2, 3}
    assert abs(counts.count(2) - 300) < 60
    asked = [k for k, count in zip(batch.asked.tolist(), counts, strict=True) if count == 3]
    assert all(abs(asked.count(k) - len(asked) / 3) < 40 for k in range(3))
    targets = batch.layout.images("target")
    shapes = [(target.height, target.width) for target in targets]
    assert all(abs(shapes.count((h, w)) - 150) < 50 for h in (3, 4) for w in (3, 4))


def test_the_variants_go_beyond_training_in_one_way_only() -> None:
    more, larger = TASK.with_more_references(), TASK.with_larger_images()
    assert (more.references, more.sides, more.max_asked) == ((4,), (3, 4), 3)
    assert (larger.references, larger.sides, larger.max_asked) == ((2, 3), (5,), 3)
    assert more.batch(WAVES, "train", 200, (0,)).asked.unique().tolist() == [0, 1, 2]


def test_evaluation_is_the_same_for_every_seed_and_training_is_not() -> None:
    first, second = (ToyData(WAVES, TASK, seed=seed, steps=3, evaluation_size=8) for seed in (0, 1))
    evaluations = list(first.val_dataloader())
    assert len(evaluations) == len(EVALUATIONS) == 3
    assert all(map(same, evaluations, second.val_dataloader()))
    assert {len(sample) - 2 for sample in evaluations[1].layout.batch} == {4}
    assert {(t.height, t.width) for t in evaluations[2].layout.images("target")} == {(5, 5)}
    batches = list(first.train_dataloader())
    assert len(batches) == 3
    assert not any(same(a, b) for a, b in pairwise(batches))
    assert not any(map(same, batches, second.train_dataloader()))
    assert all(map(same, batches, map(first.training_batch, range(3))))


def test_a_loader_that_goes_on_yields_the_same_batches() -> None:
    whole = list(ToyData(WAVES, TASK, seed=0, steps=4).train_dataloader())
    resumed = ToyData(WAVES, TASK, seed=0, steps=4).train_dataloader()
    resumed.load_state_dict({"step": 2})
    assert all(map(same, whole[2:], resumed))


def test_bad_tasks_are_refused_with_the_values() -> None:
    with pytest.raises(ValueError, match=r"references must be .* got \(2, 0\)"):
        CopyTask(references=(2, 0))
    with pytest.raises(ValueError, match=r"sides must be .* got \(\)"):
        CopyTask(sides=())
    with pytest.raises(ValueError, match="patch_size must be at least 1, got 0"):
        CopyTask(patch_size=0)
    with pytest.raises(ValueError, match="asked must be at least 1, got 0"):
        CopyTask(asked=0)
    with pytest.raises(ValueError, match="seed=-1"):
        ToyData(WAVES, TASK, seed=-1, steps=1)
