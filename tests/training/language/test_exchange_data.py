"""Questions and requests to learn from: whose they are, how often, and when they are opened."""

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.data import DataError, Sample
from omnigen2.encoders import Message
from omnigen2.microworld import EASY
from omnigen2.microworld.runs.samples import MicroExchanges
from omnigen2.pictures import ImageReader
from omnigen2.training.language.exchange_data import ExchangeData, StoredSamples
from omnigen2.training.language.exchanges import Exchange, exchange_of
from omnigen2.training.language.image_token import ImageTokenModule
from omnigen2.training.parts import AdamWRecipe, VLMFolder, WarmupConstant
from tests.training.exchange_parts import PICTURE, data
from tests.training.rank_parts import silent_trainer


@settings(max_examples=5)
@given(step=st.integers(0, 1000))
def test_a_batch_is_a_function_of_seed_and_step(step: int) -> None:
    assert data().training_batch(step) == data().training_batch(step)
    assert data().training_batch(step) != data().training_batch(step + 1)
    assert data().evaluation_batch(0) == data().evaluation_batch(0)


def test_each_process_has_batches_of_its_own() -> None:
    class Second:
        global_rank = 1

    second = data()
    second.trainer = cast(Any, Second())
    assert second.training_batch(0) != data().training_batch(0)
    assert second.evaluation_batch(0) == data().evaluation_batch(0)


def test_held_out_requests_are_never_trained() -> None:
    rng = np.random.default_rng(0)
    train, held_out = (
        {MicroExchanges(part, 1.0, 16, EASY).draw(rng).instruction for _ in range(60)} for part in ("train", "held_out")
    )
    assert train
    assert held_out
    assert not train & held_out


@pytest.mark.parametrize(("requests", "low", "high"), [(0.0, 0, 0), (1.0, 60, 60), (0.5, 15, 45)])
def test_requests_have_their_share(requests: float, low: int, high: int) -> None:
    rng = np.random.default_rng(1)
    stream = MicroExchanges("train", requests, 16)
    draws = [exchange_of(stream.draw(rng), ImageReader(), "s").draws for _ in range(60)]
    assert low <= sum(draws) <= high


def test_the_evaluation_set_is_whole() -> None:
    batches = data(evaluation_size=130)
    assert [len(batch) for batch in batches.val_dataloader()] == [64, 64, 2]


@pytest.mark.parametrize("setting", ["batch_size", "evaluation_size", "evaluation_batch_size"])
def test_sizes_are_checked(setting: str) -> None:
    stream = MicroExchanges("train", 0)
    with pytest.raises(ValueError, match=f"{setting}=0"):
        ExchangeData(stream, stream, 0, 1, **{setting: 0})
    with pytest.raises(ValueError, match=r"got 1\.5"):
        MicroExchanges("train", 1.5)


def test_stored_samples_are_drawn_by_the_weights_of_the_mixture(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.png")
    for name, record in {
        "t2i": {"task_type": "t2i", "instruction": "a cat", "output_image": "a.png"},
        "edit": {"task_type": "edit", "instruction": "a hat", "input_images": ["a.png"], "output_image": "a.png"},
    }.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(record))
    (tmp_path / "mix.yml").write_text("data: [{path: t2i.jsonl, ratio: 3}, {path: edit.jsonl, ratio: 1}]")
    stream, rng = StoredSamples(str(tmp_path / "mix.yml")), np.random.default_rng(0)
    drawn = [exchange_of(stream.draw(rng), ImageReader(), "s") for _ in range(400)]
    assert 250 < sum(each.asked == "a cat" for each in drawn) < 350
    assert all(each.draws and len(each.conversation[-1].images) == (each.asked == "a hat") for each in drawn)


def test_stored_samples_are_opened_when_they_are_drawn(tmp_path: Path) -> None:
    stream = StoredSamples(str(tmp_path / "later.jsonl"))
    with pytest.raises(DataError, match=r"later\.jsonl"):
        stream.draw(np.random.default_rng(0))


def test_a_bad_last_line_stops_a_training_before_the_model_is_loaded(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "a.png")
    good = {"task_type": "t2i", "instruction": "a cat", "output_image": "a.png"}
    (tmp_path / "x.jsonl").write_text(f"{json.dumps(good)}\n" * 3 + json.dumps(good | {"output_image": "no.png"}))
    stored = StoredSamples(str(tmp_path / "x.jsonl"))
    nothing_to_load = ImageTokenModule(
        AdamWRecipe(lr=1.0), WarmupConstant(0), encoder=VLMFolder(str(tmp_path / "none"))
    )
    for train, held_out in ((stored, MicroExchanges("train", 0)), (MicroExchanges("train", 0), stored)):
        batches = ExchangeData(train, held_out, 0, 1, batch_size=1, evaluation_size=1)
        with pytest.raises(DataError, match=r"x\.jsonl, line 4.*no\.png"):
            silent_trainer(tmp_path, 1).fit(nothing_to_load, datamodule=batches)


def test_an_answer_before_a_picture_is_said_first() -> None:
    sample = Sample("interleaved", "think, then draw", answer="hm", target=b"x")
    assert exchange_of(sample, ImageReader(), "s") == Exchange(
        (Message("system", "s"), Message("user", "think, then draw")), "hm", True
    )
