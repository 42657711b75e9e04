"""The parts of a mixture: where each is read from, and how."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from omnigen2.data import (
    BadRecords,
    ByteLength,
    DataError,
    Opened,
    OpenFolder,
    PixelRange,
    Source,
    TextLength,
    open_data,
    open_folder,
)
from omnigen2.data.batches import BrokenSamples, Precomputed
from omnigen2.data.remote import is_remote
from omnigen2.data.samples import check_range
from omnigen2.pictures import ImageReader


@dataclass(frozen=True)
class DataPart:
    """One part of a mixture.

    Attributes:
        path: A yml or jsonl file in the official layout; the folder that `omnigen2 data optimize` wrote, or that of
            one of its sources, either also as a URL such as `s3://BUCKET/FOLDER`. A path with several sources keeps
            their ratios among themselves.
        weight: At least 0; only ratios of weights count.
        at_least: Fewest pixels of a picture: smaller ones are left out, see `omnigen2.data.PixelRange`.
        below: Pixels that a picture must stay below; no limit if None.

    Raises:
        DataError: If no picture can be in the range.
    """

    path: str
    weight: float = 1.0
    at_least: int = 0
    below: int | None = None

    def __post_init__(self) -> None:
        check_range(self.at_least, self.below)


@dataclass(frozen=True)
class Reading:
    """How samples are read.

    Attributes:
        workers: Processes that read and decode; 0 does it in the process that trains.
        text: Counts the text tokens of jsonl files; the bytes, at most 888, if None. Chunks bring their counts.
        reader: Decodes images.
        bad_records: What happens to bad records of jsonl files.
        broken: What happens to a sample whose image cannot be decoded: `"refuse"` stops and names it; `"skip"` leaves
            it out whenever it is drawn, and says so. A run that goes on may have met it before or not.
        precomputed: Latents and text states that chunks bring are used, or ignored so that pictures are encoded and
            instructions read in training. To use them, budget, codec and reading of texts must be those that made
            them, otherwise the training stops and says so; chunks without them are encoded in training either way.
    """

    workers: int = 0
    text: TextLength | None = None
    reader: ImageReader = field(default_factory=ImageReader)
    bad_records: BadRecords = "refuse"
    broken: BrokenSamples = "refuse"
    precomputed: Precomputed = "use"


def open_parts(
    parts: Mapping[str, DataPart],
    reading: Reading,
    say: Callable[[str], None] = rank_zero_warn,
    folders: OpenFolder = open_folder,
) -> tuple[dict[str, Source], dict[str, float]]:
    """Open the parts of a mixture.

    Args:
        say: Is told what is left out.
        folders: Opens folders of chunks.

    Returns:
        Sources and weights by name: that of the part, or `part/source` where a path holds several.

    Raises:
        DataError: If a path cannot be used; the message names the part.
    """
    sources: dict[str, Source] = {}
    weights: dict[str, float] = {}
    for name, part in parts.items():
        opened = _open(name, part, reading, folders)
        if opened.bad:
            number, first = len(opened.bad), opened.bad[0]
            say(f"{number} bad records of the data {name!r} are left out, the first: {first}")
        if opened.broken:
            number, first = len(opened.broken), opened.broken[0]
            say(f"{number} pictures of the data {name!r} cannot be read and cost their samples, such as {first}")
        for inner, source in opened.sources.items():
            full = name if len(opened.sources) == 1 else f"{name}/{inner}"
            with named_part(full, part):
                ranged = part.at_least != 0 or part.below is not None
                sources[full] = PixelRange(source, part.at_least, part.below) if ranged else source
            weights[full] = part.weight * opened.weights[inner]
    return sources, weights


def _open(name: str, part: DataPart, reading: Reading, folders: OpenFolder) -> Opened:
    text = ByteLength(limit=888) if reading.text is None else reading.text
    with named_part(name, part):
        return open_data(part.path, reading.bad_records, text, reading.reader, reading.broken, folders)


def is_there(part: DataPart) -> bool:
    """Whether there is something to be read from; of a place far away, it shows when it is read."""
    return is_remote(part.path) or Path(part.path).exists()


@contextmanager
def named_part(name: str, part: DataPart) -> Generator[None]:
    """Name the part of a mixture in what is wrong with it.

    Yields:
        Nothing.

    Raises:
        DataError: If it does not exist, or something is wrong with it.
    """
    if not is_there(part):
        raise DataError(
            f"the data {name!r} are to be read from {part.path}, which does not exist",
            "give the path of a yml or jsonl file, or write chunks there with "
            f"`omnigen2 data optimize SPEC {part.path}`",
        ) from FileNotFoundError(part.path)
    try:
        yield
    except DataError as error:
        message = f"the data {name!r} cannot be used: {error.message}"
        raise DataError(message, error.remedy, error.arguments) from error
