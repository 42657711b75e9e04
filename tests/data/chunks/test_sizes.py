"""Sizes of many samples: by number, by block and in bounds; each is what was given, or is refused."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.data import DataError, PixelRange, SampleSizes
from omnigen2.data.chunks import sizes as module
from omnigen2.data.chunks.sizes import CHECKED, SIZES_FILE, SizeTable
from omnigen2.data.samples import BLOCK, SizeColumns
from tests.data.cases import Sizes

MANY = 2 * CHECKED + 77


@pytest.fixture(scope="module")
def many() -> list[SampleSizes]:
    rng = np.random.default_rng(0)
    sides = rng.integers(1, 2000, (MANY, 8)).tolist()
    counts = rng.integers(0, 4, MANY).tolist()
    return [
        SampleSizes(a, ((b, c), (c, d), (d, b))[:count], None if count == 1 else (f, g))
        for (a, b, c, d, _, f, g, _), count in zip(sides, counts, strict=True)
    ]


@pytest.fixture(scope="module")
def folder(many: list[SampleSizes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sizes")
    SizeTable.of(folder, ["interleaved"] * MANY, many, list(range(MANY))).save()
    return folder


def listed(columns: SizeColumns) -> list[SampleSizes]:
    ends = np.cumsum(columns.counts)
    references = [tuple(map(tuple, part.tolist())) for part in np.split(columns.references, ends[:-1])]
    targets = [tuple(size) if size[0] else None for size in columns.targets.tolist()]
    return [SampleSizes(*one) for one in zip(columns.text_tokens.tolist(), references, targets, strict=True)]


@given(numbers=st.lists(st.integers(0, MANY - 1), min_size=1, max_size=20))
def test_sizes_by_number_are_those_that_were_written(folder: Path, many: list[SampleSizes], numbers: list[int]) -> None:
    table = SizeTable.load(folder)
    assert listed(table.columns(np.array(numbers))) == [many[number] for number in numbers]
    assert table[numbers[0]] == many[numbers[0]]


def test_a_small_table_that_is_written_over_meanwhile_stays_what_it_was(
    many: list[SampleSizes], tmp_path: Path
) -> None:
    SizeTable.of(tmp_path, ["edit"] * 9, many[:9], [1] * 9).save()
    table, file = SizeTable.load(tmp_path), tmp_path / SIZES_FILE
    with file.open("r+b") as opened:
        opened.write(bytes(file.stat().st_size))
    assert listed(table.columns(np.arange(9))) == many[:9]


@pytest.fixture
def mapped(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SizeTable:
    """A table that is large enough to be mapped, all of which was read."""
    monkeypatch.setattr(module, "BLOCK", CHECKED)
    (tmp_path / SIZES_FILE).write_bytes((folder / SIZES_FILE).read_bytes())
    table = SizeTable.load(tmp_path)
    assert len(list(table.blocks())) == 3
    return table


@pytest.mark.parametrize("by", [-1, 1])
def test_a_mapped_table_that_is_cut_off_or_grows_is_told_before_it_is_read(mapped: SizeTable, by: int) -> None:
    size = mapped.file.stat().st_size
    os.truncate(mapped.file, size + by)  # within the last page: reading on would be wrong, not the end of the tests
    for read in (lambda: mapped[7], lambda: mapped.task(7), lambda: list(mapped.slices()), mapped.task_counts):
        with pytest.raises(
            DataError, match=rf"now has {size + by} bytes, and had {size} when it was opened\n  .*again"
        ):
            read()


def test_a_mapped_table_is_read_on_where_its_file_is_only_touched_deleted_or_replaced(
    mapped: SizeTable, many: list[SampleSizes]
) -> None:
    os.utime(mapped.file, ns=(1, 1))
    assert listed(mapped.columns(np.arange(MANY))) == many
    mapped.file.rename(mapped.file.with_name("kept"))
    assert listed(mapped.columns(np.arange(MANY))) == many
    mapped.file.write_bytes(b"another")
    assert listed(mapped.columns(np.arange(MANY))) == many


def test_a_mapped_table_that_is_written_over_is_refused_where_it_differs(mapped: SizeTable) -> None:
    content = mapped.file.read_bytes()
    place, last = content.index(mapped.text_tokens[CHECKED : CHECKED + 50].tobytes()), mapped[MANY - 1]
    with mapped.file.open("r+b") as opened:
        opened.seek(place)
        opened.write(bytes([content[place] ^ 1]))
    os.utime(mapped.file, ns=(1, 1))
    assert mapped[MANY - 1] == last
    with pytest.raises(DataError, match=r"is damaged \(its checksum is wrong\)"):
        mapped[CHECKED]


def test_blocks_hold_all_samples_in_order(folder: Path, many: list[SampleSizes], monkeypatch) -> None:
    monkeypatch.setattr(module, "BLOCK", CHECKED)
    blocks = list(SizeTable.load(folder).blocks())
    assert [len(block) for block in blocks] == [CHECKED, CHECKED, 77]
    assert [size for block in blocks for size in listed(block)] == many
    assert BLOCK % CHECKED == 0


def test_no_sample_exceeds_the_envelope(folder: Path, many: list[SampleSizes]) -> None:
    found = SizeTable.load(folder).envelope
    assert found == Sizes(many).envelope()
    assert found.text_tokens == max(size.text_tokens for size in many)
    assert found.first_with_most == next(i for i, size in enumerate(many) if len(size.references) == found.references)
    assert found.first_undrawn == next(i for i, size in enumerate(many) if size.target is None)


def test_a_damaged_block_is_refused_when_it_is_read_and_no_other(folder: Path, tmp_path: Path) -> None:
    content = bytearray((folder / SIZES_FILE).read_bytes())
    expected = SizeTable.load(folder)
    place = content.index(expected.text_tokens[CHECKED : CHECKED + 50].tobytes())
    content[place] ^= 1
    (tmp_path / SIZES_FILE).write_bytes(content)
    table = SizeTable.load(tmp_path)
    assert table[CHECKED - 1] == expected[CHECKED - 1]
    assert table[2 * CHECKED] == expected[2 * CHECKED]
    for read in (lambda: table[CHECKED + 7], lambda: table.task(CHECKED), lambda: list(table.blocks())):
        with pytest.raises(DataError, match=r"samples.safetensors is damaged \(its checksum is wrong\)"):
            read()


@given(st.integers(0, 10**6), st.none() | st.integers(1, 4 * 10**6))
def test_a_pixel_range_has_the_samples_of_its_range(many: list[SampleSizes], at_least: int, below: int | None) -> None:
    source = Sizes(many[:5000])
    pixels = source.columns(range(5000)).pixels().tolist()
    expected = [i for i, n in enumerate(pixels) if at_least <= n and (below is None or n < below)]
    if not expected:
        with pytest.raises(DataError, match=r"no picture has so many|none of 5000 samples has"):
            PixelRange(source, at_least, below)
        return
    made = PixelRange(source, at_least, below)
    assert len(made) == len(expected)
    assert [made.number(index) for index in (0, len(made) // 2, len(made) - 1)] == [
        expected[0], expected[len(made) // 2], expected[-1]
    ]  # fmt: skip
    lengths, window = made.chunks()
    assert window == 5000
    assert np.flatnonzero(lengths).tolist() == expected
    again = PixelRange(made, at_least, below).chunks().lengths  # of chunks without samples too
    assert again.tolist() == lengths.tolist()
    assert listed(made.columns(range(0, len(made), 7))) == [source.all[number] for number in expected[::7]]
