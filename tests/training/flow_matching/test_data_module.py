"""Real data as a data module: what is mixed, what comes back after a stop, and what is refused."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from shutil import copytree, rmtree
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy

from omnigen2.data import (
    Batch,
    ConditionDropout,
    DataError,
    Mixture,
    OptimizeSettings,
    PixelRange,
    StreamingSource,
    TextLimit,
    TokenBudget,
    optimize,
)
from omnigen2.pictures import ResizePolicy
from omnigen2.runner.keep import of_all_processes
from omnigen2.training.flow_matching import ImageData
from omnigen2.training.flow_matching.data_module import Validation
from omnigen2.training.flow_matching.data_parts import DataPart, Reading, open_parts
from tests.data.batches.test_lightning import Recorder, mixture
from tests.data.cases import picture, t2i, write_jsonl
from tests.data.remote.servers import WebServer
from tests.training.rank_parts import Launcher, silent_trainer

NAMES = ("drawings", "edits")
BUDGET = TokenBudget(700, ResizePolicy(max_pixels=64 * 64, multiple=8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spec of two files, and the chunks that are made of it."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(7):
        (folder / f"{number}.png").write_bytes(picture(16 + 8 * number, 24))
    write_jsonl(folder / "drawings.jsonl", [t2i(f"{number}.png") for number in range(7)])
    edits = [{"task_type": "edit", "instruction": "x", "input_images": ["1.png"], "output_image": "2.png"}] * 3
    write_jsonl(folder / "edits.jsonl", edits)
    spec = "data:\n  - {path: drawings.jsonl, ratio: 3}\n  - {path: edits.jsonl, ratio: 1}\n"
    (folder / "data.yml").write_text(spec)
    optimize(folder / "data.yml", folder / "chunks", OptimizeSettings(threads=1), lambda advance: None)
    return folder


def data(folder: Path, **more: Any) -> ImageData:
    parts = {"own": DataPart(str(folder / "data.yml"))}
    return ImageData(**({"train": parts, "steps": 5, "budget": BUDGET, "mixing": "sample"} | more))


def keys(batches: Iterator[Batch] | Mixture) -> list[list[tuple[str, bool]]]:
    return [[(example.key, example.prompt_dropped) for example in batch.examples] for batch in batches]


def endless(loader: Mixture) -> Iterator[Batch]:
    while True:
        yield from loader


@settings(max_examples=8, deadline=None)
@given(stop=st.integers(0, 9), steps=st.integers(1, 6))
def test_a_restored_run_gets_the_batches_it_would_have_got(folder: Path, stop: int, steps: int) -> None:
    def loader() -> Mixture:
        return data(folder, steps=steps, dropout=ConditionDropout(0.5)).train_dataloader()

    whole = keys(islice(endless(loader()), 12))
    first, second = loader(), loader()
    head = keys(islice(endless(first), stop))
    second.load_state_dict(first.state_dict())
    assert head + keys(islice(endless(second), 12 - stop)) == whole


def fitted(folder: str, checkpoint: str | None = None, strategy: Any = "auto") -> Recorder:
    saved = ModelCheckpoint(folder, every_n_train_steps=2, save_top_k=-1)
    module, data = Recorder(), mixture(12, 0)
    trainer = silent_trainer(Path(folder), 6, saved, strategy=strategy, enable_checkpointing=True)
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    return module


def fit_two_of_two(folder: str) -> dict[str, Any]:
    """What each of two processes trains on, never stopped and from the checkpoint after the second step."""
    whole = fitted(f"{folder}/whole", None, DDPStrategy(process_group_backend="gloo"))
    checkpoint = f"{folder}/whole/epoch=0-step=2.ckpt"
    again = fitted(f"{folder}/again", checkpoint, DDPStrategy(process_group_backend="gloo"))
    return {"ranks": of_all_processes({"whole": whole.trained, "again": again.trained})}


def test_lightning_saves_the_position_of_all_processes(launcher: Launcher, tmp_path: Path) -> None:
    ranks = launcher.results(fit_two_of_two, str(tmp_path))["ranks"]
    for rank in ranks:
        assert rank["again"] == rank["whole"][2:]
    assert ranks[0]["whole"] != ranks[1]["whole"]
    alone = fitted(str(tmp_path / "alone"), str(tmp_path / "whole/epoch=0-step=2.ckpt"))
    assert len(alone.trained) == 4
    first = [key.split(" ")[0] for rank in ranks for batch in rank["whole"][:2] for key in batch]
    later = [key.split(" ")[0] for key in alone.trained[0]]
    assert not set(first) & set(later)  # no source has come to its second epoch


def test_sources_have_the_weight_of_their_part_times_their_ratio(folder: Path) -> None:
    spec, chunks = (DataPart(str(folder / name), weight) for name, weight in (("data.yml", 2), ("chunks", 6)))
    one = DataPart(str(folder / "chunks/edits"), 5)
    sources, weights = open_parts({"a": spec, "b": chunks, "c": one}, Reading())
    assert weights == pytest.approx({"a/drawings": 1.5, "a/edits": 0.5, "b/drawings": 4.5, "b/edits": 1.5, "c": 5})
    assert isinstance(sources["c"], StreamingSource)
    assert [len(source) for source in sources.values()] == [7, 3, 7, 3, 3]


def test_a_spec_and_its_chunks_give_the_same_samples(folder: Path) -> None:
    def seen(path: str) -> set[str]:
        loader = data(folder, train={"own": DataPart(str(folder / path))}, steps=12).train_dataloader()
        return {key for batch in keys(loader) for key, _ in batch}

    assert seen("data.yml") == seen("chunks")
    assert len(seen("chunks")) == 10


@pytest.fixture
def web(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebServer]:
    """The chunks on a web server, and a cache of this test's own."""
    monkeypatch.setenv("OMNIGEN2_CACHE", str(tmp_path / "cache"))
    server = WebServer(chunks=folder / "chunks", **{f"chunks__{name}": folder / "chunks" / name for name in NAMES})
    yield server
    server.close()


def test_a_folder_is_opened_once_whatever_it_is_used_for(folder: Path, web: WebServer) -> None:
    far, near = {"own": DataPart(f"{web.url}/chunks")}, {"own": DataPart(str(folder / "chunks"))}
    module, same = (data(folder, train=parts, validation=Validation(parts, 2)) for parts in (far, near))
    limit = TextLimit(9999, lambda *text: 0, "")
    module.check_texts(limit)
    assert module.looked_through().references == 1
    assert list(module.stored_origins()) == ["own/drawings", "own/edits"]
    module.check_texts(limit)
    for use in ("train_dataloader", "val_dataloader", "train_dataloader"):
        assert keys(getattr(module, use)()) == keys(getattr(same, use)())
    files = [file.name for path in (folder / "chunks").rglob("*") if path.is_dir() for file in path.iterdir()]
    assert web.asked == Counter([*files, "report.json"])


def test_another_run_of_the_same_module_sees_the_folder_as_it_is_then(folder: Path, tmp_path: Path) -> None:
    edits = tmp_path / "edits"
    copytree(folder / "chunks/drawings", edits)
    module = data(folder, train={"own": DataPart(str(edits))})
    assert [len(source) for source in module.train_dataloader().planner.sources.values()] == [7]
    rmtree(edits)
    copytree(folder / "chunks/edits", edits)
    module.teardown("fit")
    assert [len(source) for source in module.train_dataloader().planner.sources.values()] == [3]


def test_pictures_outside_of_the_range_are_left_out(folder: Path) -> None:
    part = DataPart(str(folder / "drawings.jsonl"), at_least=24 * 24, below=24 * 48)
    sources, _ = open_parts({"own": part}, Reading())
    assert isinstance(sources["own"], PixelRange)
    with pytest.raises(DataError, match=r"^the data 'own' cannot be used: no.* at least 1000000000 pixels"):
        open_parts({"own": replace(part, below=None, at_least=10**9)}, Reading())
    assert len(sources["own"]) == 3


@pytest.mark.parametrize(("at_least", "below"), [(-1, None), (-1, 5), (5, 5), (9, 5), (0, 0), (0, -3)])
def test_a_range_that_no_picture_can_be_in_is_refused_before_anything_is_read(at_least: int, below: int | None) -> None:
    words = rf"at_least is {at_least}{'' if below is None else f' and below is {below}'}: no picture has so many pixels"
    with pytest.raises(DataError, match=rf"^{words}\n  give 0 <= at_least < below$"):
        DataPart("nowhere", at_least=at_least, below=below)


def test_validation_is_the_same_every_time_has_all_parts_and_drops_nothing(folder: Path) -> None:
    parts = {name: DataPart(str(folder / f"{name}.jsonl")) for name in ("drawings", "edits")}
    module = data(folder, validation=Validation(parts, 2), dropout=ConditionDropout(1.0), mixing="batch")
    loader = module.val_dataloader()
    assert isinstance(loader, Mixture)
    first = keys(loader)
    assert first == keys(loader)
    assert len(first) == 2
    assert {key.split(".")[0] for batch in first for key, _ in batch} == set(parts)
    assert not any(dropped for batch in first for _, dropped in batch)
    assert all(dropped for batch in keys(module.train_dataloader()) for _, dropped in batch)
    assert data(folder).val_dataloader() == []


def test_a_step_of_several_batches_takes_as_many(folder: Path) -> None:
    module = data(folder)
    assert len(module.train_dataloader()) == 5
    module.trainer = type("Accumulating", (), {"accumulate_grad_batches": 3})()
    assert len(module.train_dataloader()) == 15


@given(tokens=st.integers(80, 20000), side=st.integers(1, 30), most=st.none() | st.integers(1, 40))
def test_the_planned_batch_is_full_and_fits(tokens: int, side: int, most: int | None) -> None:
    budget = TokenBudget(tokens, ResizePolicy(max_pixels=(side * 16) ** 2), max_samples=most)
    module = ImageData({"own": DataPart("nowhere")}, 1, budget)
    each = side * side + 64
    if each > tokens:
        with pytest.raises(DataError, match=f"takes {side * side} tokens, and its text 64; the budget is {tokens}"):
            module.planned_layout()
        return
    layout = module.planned_layout()
    assert layout.tokens <= tokens
    assert layout.tokens + each > tokens or len(layout) == most


def test_bad_records_are_refused_or_counted(folder: Path, tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "x.jsonl", [t2i(str(folder / "1.png")), t2i("missing.png")])
    train = {"own": DataPart(str(file))}
    with pytest.raises(DataError, match=r"(?s)data 'own' cannot be used: .*x\.jsonl.*2.*missing\.png"):
        data(folder, train=train).train_dataloader()
    with pytest.warns(UserWarning, match=r"1 bad records of the data 'own' are left out, the first: .*missing\.png"):
        data(folder, train=train, reading=Reading(bad_records="skip")).train_dataloader()


def test_missing_data_are_named_with_what_to_do(folder: Path) -> None:
    module = data(folder, train={"edits": DataPart("no/where")})
    with pytest.raises(
        DataError, match="data 'edits' .* no/where, which does not exist\n.*data optimize SPEC no/where"
    ):
        module.train_dataloader()
    with pytest.raises(DataError, match="data 'own' cannot be used: .*is no folder of chunks, but has data.yml"):
        data(folder, train={"own": DataPart(str(folder))}).train_dataloader()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "steps >= 1 and seed >= 0, got 0 and 0"),
        ({"seed": -1}, "steps >= 1 and seed >= 0, got 5 and -1"),
        ({"train": {}}, "at least 1 part of data"),
        ({"validation": Validation({})}, "at least 1 part of data"),
    ],
)
def test_what_cannot_be_meant_is_refused(folder: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        data(folder, **wrong)
