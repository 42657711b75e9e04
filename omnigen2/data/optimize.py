"""From jsonl files and images to folders of chunks, with an account of every record that was left out."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from omnigen2.data.batches import resized
from omnigen2.data.chunks import ChunkWriter
from omnigen2.data.jsonl import count_records, read_records
from omnigen2.data.remote import is_remote
from omnigen2.data.samples import (
    BadRecord,
    ByteLength,
    DataError,
    ImageEncoder,
    ImageFile,
    InstructionEncoder,
    Origins,
    Sample,
    SampleSizes,
    TextLength,
    measure,
)
from omnigen2.data.spec import SpecEntry, read_spec
from omnigen2.files import check_most, write_json
from omnigen2.pictures import ImageFileError, ImageReader

REPORT_FILE = "report.json"
BAD_FILE = "bad_records.jsonl"
Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class SourceReport:
    """What became of one entry of a spec: its share of the draws, and how many records were written or left out."""

    name: str
    ratio: float
    written: int
    bad: int


@dataclass(frozen=True)
class OptimizeReport:
    """What `optimize` did with each entry of the spec, and all records that were left out."""

    sources: tuple[SourceReport, ...]
    bad: tuple[BadRecord, ...]


@dataclass(frozen=True)
class OptimizeSettings:
    """How chunks are written.

    Attributes:
        strict: Stop at the first bad record.
        chunk_bytes: A chunk is closed before it gets larger.
        threads: How many images are decoded at a time, at least 1.
        text: Counts the text tokens of a sample; the counts are stored.
        reader: Proves the images sound.
        latents: Encodes the images of samples with a target; no latents are stored if None.
        states: Reads the instructions of samples with a target; no text states are stored if None.

    Raises:
        DataError: If `threads` or `chunk_bytes` is below 1.
    """

    strict: bool = False
    chunk_bytes: int = 64 * 2**20
    threads: int = 4
    text: TextLength = field(default_factory=ByteLength)
    reader: ImageReader = field(default_factory=ImageReader)
    latents: ImageEncoder | None = None
    states: InstructionEncoder | None = None

    def __post_init__(self) -> None:
        check_most("threads", self.threads, 1024, DataError)
        check_most("chunk_bytes", self.chunk_bytes, 2**40, DataError)
        if self.threads < 1:
            raise DataError(f"threads must be at least 1, got {self.threads}; 4 are usual")
        if self.chunk_bytes < 1:
            raise DataError(
                f"chunk_bytes must be at least 1, got {self.chunk_bytes}; {64 * 2**20} (--chunk_mb 64) are usual"
            )

    @property
    def origins(self) -> Origins:
        """What makes that which is stored beside images and words."""
        return Origins(
            None if self.latents is None else self.latents.origin, None if self.states is None else self.states.origin
        )


@dataclass(frozen=True)
class Advance:
    """How many records of a source are dealt with, how many of them were bad, and how many there are in all."""

    name: str
    done: int
    total: int
    bad: int


class Item(NamedTuple):
    """A record on its way: where it was read, and what the line holds."""

    file: Path
    line: int
    read: Sample | BadRecord


def optimize(
    spec: str | Path, out: str | Path, settings: OptimizeSettings, progress: Callable[[Advance], None]
) -> OptimizeReport:
    """Write each entry of a spec as a folder of chunks.

    Every record is checked against the layout, its images are decoded, and what was written is read back. Image files
    are stored as they are, not encoded anew; latents and text states are stored beside them. A bad record is left out
    and listed; nothing takes its place.

    Args:
        spec: A yml file in the official layout, a jsonl or json file, or a folder of pictures with captions.
        out: Gets `NAME/` for each entry, `report.json`, and `bad_records.jsonl` with file, line and problem.
        settings: How chunks are written.
        progress: Is told after every record.

    Raises:
        DataError: If the spec is wrong, the folder is far away, a file or has files, an entry has no usable record, or
            (strict) a record is bad. The report is written before, except when strict.
    """
    if is_remote(out):
        raise DataError(
            f"{out} is far away, and chunks are written to a disk",
            "write to a folder, then copy all of it with the store's own tool, such as `aws s3 sync` "
            "(docs/data_far_away.md)",
        )
    entries = read_spec(spec)
    folder = Path(out)
    if folder.is_file():
        raise DataError(f"{folder} is a file; name an empty folder, or one that does not exist")
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder} has files; name an empty folder, or delete it first")
    folder.mkdir(parents=True, exist_ok=True)
    sources: list[SourceReport] = []
    bad: list[BadRecord] = []
    with (folder / BAD_FILE).open("w", encoding="utf-8") as listing:
        for entry in entries:
            found: list[BadRecord] = []
            sources.append(_write_entry(entry, folder / entry.name, settings, progress, found))
            for record in found:
                listing.write(json.dumps({**asdict(record), "file": str(record.file)}, ensure_ascii=False) + "\n")
            bad += found
    report = OptimizeReport(tuple(sources), tuple(bad))
    content = {"sources": [asdict(source) for source in sources], "bad": len(bad)}
    write_json(folder / REPORT_FILE, content)
    empty = [source.name for source in sources if not source.written]
    if empty:
        raise DataError(
            f"{', '.join(empty)} of {spec} has no usable record; {folder / BAD_FILE} says what is wrong with each"
        )
    return report


def _write_entry(
    entry: SpecEntry,
    folder: Path,
    settings: OptimizeSettings,
    progress: Callable[[Advance], None],
    bad: list[BadRecord],
) -> SourceReport:
    writer = ChunkWriter(folder, settings.chunk_bytes, settings.origins)
    lines = sum(count_records(file) for file in entry.files)
    items = (Item(file, *read) for file in entry.files for read in read_records(file, entry.image_root))
    progress(Advance(entry.name, 0, lines, 0))
    for done, made in enumerate(_in_order(lambda item: _prepare(item, settings), items, settings.threads), start=1):
        if isinstance(made, BadRecord):
            if settings.strict:
                raise DataError(str(made), "mend or remove it, or leave --strict out to go on without it")
            bad.append(made)
        else:
            writer.add(*made)
        progress(Advance(entry.name, done, lines, len(bad)))
    if len(writer):
        writer.close()
    return SourceReport(entry.name, entry.ratio, len(writer), len(bad))


def _prepare(item: Item, settings: OptimizeSettings) -> tuple[Sample, SampleSizes] | BadRecord:
    """The sample with its images in memory, found sound, and with what it is to bring beside them."""
    if isinstance(item.read, BadRecord):
        return item.read
    sample = item.read
    try:
        references = tuple(_contents(image) for image in sample.references)
        target = None if sample.target is None else _contents(sample.target)
        sizes = measure(sample, settings.text.count(sample), settings.reader)
        latents = None
        if settings.latents is not None and target is not None:
            before, after = resized(sample, settings.latents.origin.resize, settings.reader)
            latents = settings.latents.of([*before, *(() if after is None else (after,))])
        states = None
        if settings.states is not None and target is not None:
            states = settings.states.of(sample.instruction)
        return replace(sample, references=references, target=target, latents=latents, states=states), sizes
    except (ImageFileError, DataError, OSError) as error:
        return BadRecord(item.file, item.line, str(error))


def _contents(image: ImageFile) -> bytes:
    return image if isinstance(image, bytes) else image.read_bytes()


def _in_order(function: Callable[[Given], Made], items: Iterable[Given], threads: int) -> Iterator[Made]:
    """Map with several threads, reading only a little ahead; results come in the order of the items."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Made]] = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
