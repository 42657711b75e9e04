"""From jsonl to chunks and back: nothing lost, nothing changed, every fault named."""

import json
import os
import pickle
import struct
from itertools import islice
from pathlib import Path

import pytest
from litdata import StreamingDataset
from torch.utils.data import DataLoader

from omnigen2.data import (
    ByteLength,
    ChunkWriter,
    Collate,
    DataError,
    Mixture,
    OptimizeSettings,
    Planner,
    Sample,
    SampleSizes,
    StreamingSource,
    TokenBudget,
)
from omnigen2.data.chunks.sizes import SIZES_FILE
from omnigen2.data.samples import LostChunk
from omnigen2.data.samples.sample import measure
from omnigen2.pictures import ImageReader
from tests.data.cases import POLICY, answer, drawing, edit, picture

SAMPLES = [
    *(drawing(i, 8 + i) for i in range(9)),
    *(edit(i) for i in range(5)),
    *(answer(i) for i in range(4)),
    Sample("reflection", "again", (picture(), picture(9, 9), picture(5, 7)), None, "good", "r:0", '{"a": 1}'),
    Sample("interleaved", "go on", (), picture(3, 3), "and then", "i:0"),
]


def write(folder: Path, samples: list[Sample] = SAMPLES, chunk_bytes: int = 500) -> Path:
    with ChunkWriter(folder, chunk_bytes) as writer:
        for sample in samples:
            writer.add(sample, measure(sample, ByteLength().count(sample), ImageReader()))
    return folder


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("chunks") / "all")


@pytest.fixture
def copied(chunks: Path, tmp_path: Path) -> Path:
    for file in chunks.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_mixed_tasks_lists_of_any_length_and_missing_parts_come_back(chunks: Path) -> None:
    source = StreamingSource(chunks)
    assert len(source.index) > 5
    assert [source[i] for i in range(len(source))] == SAMPLES
    reader = ImageReader()
    for i, sample in enumerate(SAMPLES):
        assert source.sizes(i) == measure(sample, ByteLength().count(sample), reader)
        assert source.task(i) == sample.task
    with pytest.raises(IndexError, match="has samples 0 to 19, got 20"):
        source[20]


def test_chunks_are_read_by_workers_after_the_parent_has_read_them(chunks: Path) -> None:
    source = StreamingSource(chunks)
    assert source[3] == SAMPLES[3]
    order = [17, 0, 19, 5, 5]
    loader = DataLoader(source, batch_size=None, sampler=order, num_workers=2, timeout=60)
    assert list(loader) == [SAMPLES[i] for i in order]
    assert source[4] == SAMPLES[4]


def test_records_are_those_that_litdata_reads(chunks: Path) -> None:
    source, theirs = StreamingSource(chunks), StreamingDataset(str(chunks))
    assert [source.record(i) for i in range(20)] == [bytes(theirs[i]) for i in range(20)]
    lines = (chunks / "chunks.sha256").read_text().splitlines()
    assert [line.split("  ")[1] for line in lines] == sorted(
        path.name for path in chunks.iterdir() if path.name != "chunks.sha256"
    )


def test_few_chunks_are_open_at_a_time_and_those_that_are_may_be_removed(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("omnigen2.data.chunks.streaming.MOST_OPEN", 2)
    source = StreamingSource(copied)
    for index in (0, 19, 5, 0, 19):
        assert source[index] == SAMPLES[index]
        assert len(source._open) <= 2
    (copied / source.index.name(0)).unlink()
    assert source[0] == SAMPLES[0]
    assert len(pickle.loads(pickle.dumps(source))._open) == 0
    with pytest.raises(DataError, match=r"the chunk .* is missing; copy it anew"):
        pickle.loads(pickle.dumps(source))[0]


@pytest.mark.parametrize(("before", "after"), [(0, 2), (2, 0)])
def test_a_mixture_over_chunks_resumes_exactly(chunks: Path, before: int, after: int) -> None:
    def loader(workers: int) -> Mixture:
        sources = {"a": StreamingSource(chunks), "b": StreamingSource(chunks)}
        planner = Planner(sources, {"a": 2, "b": 1}, TokenBudget(400, POLICY))
        return Mixture(planner, Collate(), 16, workers)

    def keys(batches) -> list[list[tuple[str, str]]]:
        return [[(example.source, example.key) for example in batch.examples] for batch in batches]

    whole = keys(loader(0))
    first, second = loader(before), loader(after)
    head = keys(islice(first, 7))
    second.load_state_dict(first.state_dict())
    assert head + keys(second) == whole
    drawn = [key for batch in whole for source, key in batch if source == "a"]
    assert set(drawn[:20]) == {sample.key for sample in SAMPLES}


def read_all(folder: Path) -> None:
    source = StreamingSource(folder)
    for index in range(len(source)):
        assert source.sizes(index).text_tokens
        assert source[index].instruction


def damage(folder: Path, fault: str) -> None:
    chunk = folder / "chunk-0-1.bin"
    index = json.loads((folder / "index.json").read_text())
    match fault:
        case "truncated":
            os.truncate(chunk, chunk.stat().st_size - 3)
        case "flipped":
            data = bytearray(chunk.read_bytes())
            data[-5] ^= 1
            chunk.write_bytes(bytes(data))
        case "missing":
            chunk.unlink()
        case "pickle" | "str":
            index["config"]["data_format"] = [fault]
            (folder / "index.json").write_text(json.dumps(index))
        case "fewer":
            index["chunks"].pop()
            (folder / "index.json").write_text(json.dumps(index))
        case "no index":
            (folder / "index.json").unlink()
        case "other length":
            data = bytearray(chunk.read_bytes())
            (records,) = struct.unpack_from("<I", data)
            struct.pack_into("<I", data, 4 * (records + 2), 7)
            chunk.write_bytes(bytes(data))
        case "twice":
            index["chunks"][1] = index["chunks"][0]
            (folder / "index.json").write_text(json.dumps(index))
        case "no whole number":
            index["chunks"][1]["chunk_size"] = 1.5
            (folder / "index.json").write_text(json.dumps(index))
        case "another format":
            file = (folder / SIZES_FILE).read_bytes()
            (folder / SIZES_FILE).write_bytes(file.replace(b"omnigen2 samples 3", b"omnigen2 samples 2"))
        case "other bounds":
            file = (folder / SIZES_FILE).read_bytes()
            (folder / SIZES_FILE).write_bytes(file.replace(b'references\\": 3', b'references\\": 2'))
        case "half an index":
            (folder / "index.json").write_text('{"chunks": [')
        case "no sizes":
            (folder / SIZES_FILE).unlink()
        case "half of the sizes":
            os.truncate(folder / SIZES_FILE, 100)
        case "another size":
            table = bytearray((folder / SIZES_FILE).read_bytes())
            table[-1] ^= 1
            (folder / SIZES_FILE).write_bytes(table)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("truncated", r"the chunk .*chunk-0-1.bin has \d+ bytes, expected \d+; it is truncated: copy it anew"),
        ("flipped", r"sample \d+ of .* is damaged or truncated \(its checksum is wrong\); copy the chunk anew"),
        ("missing", r"the chunk .*chunk-0-1.bin is missing; copy it anew"),
        ("pickle", r"data_format \['pickle'\], expected \['bytes'\]; pickle runs whatever code it holds"),
        ("str", r"data_format \['str'\], expected \['bytes'\]\n"),
        ("fewer", r"has the sizes of 20 samples, but \d+ in its chunks"),
        ("other length", r"record 0 of the chunk .*chunk-0-1.bin is damaged \(its length is wrong\)"),
        ("twice", r"index.json names chunk-0-0.bin twice"),
        ("no whole number", r"chunks\[1\], has chunk_size 1.5, expected a whole number of at least 1"),
        (
            "another format",
            r"has the format 'omnigen2 samples 2', expected 'omnigen2 samples 3'; write the folder again",
        ),
        ("other bounds", r"samples.safetensors is damaged \(its checksum is wrong\)"),
        ("no index", "has no index.json"),
        ("half an index", "index.json is no JSON"),
        ("no sizes", "has no samples.safetensors: it was not written by `omnigen2 data optimize`, or not to the end"),
        ("half of the sizes", "samples.safetensors is damaged"),
        ("another size", r"samples.safetensors is damaged \(its checksum is wrong\)"),
    ],
)
def test_damaged_folders_are_refused(copied: Path, fault: str, message: str) -> None:
    damage(copied, fault)
    with pytest.raises(DataError, match=message):
        read_all(copied)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_chunk_that_is_lost_stops_a_training_that_leaves_broken_samples_out(copied: Path, workers: int) -> None:
    source = StreamingSource(copied)
    planner = Planner({"d": source}, {"d": 1}, TokenBudget(400, POLICY))
    (copied / source.index.name(2)).unlink()
    with pytest.raises(LostChunk, match=rf"{source.index.name(2)} is missing; copy it anew or write the folder again$"):
        list(Mixture(planner, Collate(broken="skip"), 40, workers))


def test_what_reads_back_differently_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnigen2.data.chunks.open_chunk.OpenChunk.record", lambda chunk, number: b"other")
    with pytest.raises(DataError, match=r"sample 0 of .* reads back differently than it was written"):
        write(tmp_path / "x")
    with pytest.raises(DataError, match="not to the end"):
        StreamingSource(tmp_path / "x")


def test_the_writer_refuses_full_folders_no_samples_and_foreign_sizes(chunks: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has files; name an empty folder"):
        ChunkWriter(chunks)
    with pytest.raises(DataError, match="got no samples"):
        write(tmp_path / "none", [])
    with (
        pytest.raises(DataError, match="s:0 got the sizes .* which belong to another sample"),
        ChunkWriter(tmp_path / "x") as w,
    ):
        w.add(drawing(0), SampleSizes(1, (), None))
    with pytest.raises(DataError, match="chunk_bytes must be at least 1, got 0"):
        ChunkWriter(tmp_path / "y", 0)
    with pytest.raises(DataError, match="window must be at least 1 chunk, got 0"):
        StreamingSource(chunks, 0)
    with pytest.raises(DataError, match=r"chunk_bytes must be at least 1, got 0; \d+ \(--chunk_mb 64\) are usual"):
        OptimizeSettings(chunk_bytes=0)
    with pytest.raises(DataError, match="threads must be at least 1, got 0; 4 are usual"):
        OptimizeSettings(threads=0)
