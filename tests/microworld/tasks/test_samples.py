"""Tasks as text and as training examples."""

import io
import json

import numpy as np
import pytest
import torch
from hypothesis import given
from PIL import Image

from omnigen2.microworld.tasks import (
    Caption,
    from_json,
    sample_caption,
    sample_context,
    sample_edit,
    sample_question,
    to_json,
    to_sample,
    verify_caption,
)
from omnigen2.microworld.tasks.record import Task
from omnigen2.microworld.world import EASY, ImageSize, Vocabulary, draw, sample_glyphs
from omnigen2.pictures import to_png
from tests.microworld.worlds import generator, seeds, worlds


def one_of_each(vocabulary: Vocabulary, seed: int) -> list[Task]:
    rng = generator(seed)
    samplers = (sample_caption, sample_edit, sample_context, sample_question)
    return [*(sampler(vocabulary, rng) for sampler in samplers), sample_glyphs(rng)]


def decoded(file: object) -> torch.Tensor:
    assert isinstance(file, bytes)
    levels = np.asarray(Image.open(io.BytesIO(file)))
    return torch.from_numpy(levels.transpose(2, 0, 1) / 127.5 - 1)


@given(worlds, seeds)
def test_tasks_survive_json(world: tuple[ImageSize, Vocabulary], seed: int) -> None:
    for task in one_of_each(world[1], seed):
        assert from_json(to_json(task)) == task


def test_types_of_fields_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [to_json(task) for task in one_of_each(EASY, 0)]
    read = [from_json(text) for text in texts]
    monkeypatch.delattr("omnigen2.microworld.tasks.record.get_type_hints")
    assert [from_json(text) for text in texts] == read


@given(worlds, seeds)
def test_a_sample_can_be_verified_from_its_file_and_meta_alone(world: tuple[ImageSize, Vocabulary], seed: int) -> None:
    size, vocabulary = world
    kinds = ("text_to_image", "edit", "in_context", "understanding", "text_to_image")
    for task, kind in zip(one_of_each(vocabulary, seed), kinds, strict=True):
        sample = to_sample(task, size, "here")
        assert (sample.task, sample.key) == (kind, "here")
        assert from_json(sample.meta) == task
        if isinstance(task, Caption):
            again = from_json(sample.meta)
            assert isinstance(again, Caption)
            assert verify_caption(again.specification, decoded(sample.target)).exact


@given(worlds, seeds)
def test_files_keep_pixels_to_half_a_level(world: tuple[ImageSize, Vocabulary], seed: int) -> None:
    picture = draw(sample_caption(world[1], generator(seed)).scene, world[0])
    assert (decoded(to_png(picture)) - picture).abs().max() <= 0.5 / 127.5 + 1e-6


def test_wrong_text_is_refused() -> None:
    task = sample_glyphs(generator(0), 2)
    fields = json.loads(to_json(task))["value"]

    def text(**changes: object) -> str:
        return json.dumps({"task": "glyphs", "value": {**fields, **changes}})

    with pytest.raises(ValueError, match="expected a micro-world task.*got '{}'"):
        from_json("{}")
    with pytest.raises(ValueError, match=r"glyphs\.colour should be one of black, red.*got 'pink'"):
        from_json(text(colour="pink"))
    with pytest.raises(ValueError, match=r"glyphs\.top should be int, got '3'"):
        from_json(text(top="3"))
    with pytest.raises(ValueError, match="glyphs should be the fields instruction, text"):
        from_json(text(more=1))
    with pytest.raises(ValueError, match="Expecting value"):
        from_json("nonsense")
