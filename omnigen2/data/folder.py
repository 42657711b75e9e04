"""Opening a mixture by its path, as jsonl files or as chunks."""

from collections.abc import Callable
from copy import copy
from pathlib import Path
from typing import NamedTuple, TypeAlias

from omnigen2.data.captions import has_captions
from omnigen2.data.chunks import StreamingSource
from omnigen2.data.jsonl import BadRecords, JsonlSource
from omnigen2.data.optimize import BAD_FILE, REPORT_FILE
from omnigen2.data.remote import is_remote, read_remote
from omnigen2.data.samples import BadRecord, DataError, Source, TextLength
from omnigen2.data.spec import read_spec
from omnigen2.files import Fields, inside, object_of, read_object
from omnigen2.pictures import ImageReader

REMEDY = "copy it anew or write the folder again"


class Opened(NamedTuple):
    """What a `Planner` mixes.

    Attributes:
        sources: By name.
        weights: By name: the ratios of the spec, which sum to 1.
        bad: Records that were left out, when they are to be skipped.
        broken: Records whose images cannot be decoded, and which are kept; see `JsonlSource`.
    """

    sources: dict[str, Source]
    weights: dict[str, float]
    bad: tuple[BadRecord, ...]
    broken: tuple[BadRecord, ...] = ()


OpenFolder: TypeAlias = Callable[[str | Path], Opened]


def open_data(  # noqa: PLR0913 (each is an option of its own)
    path: str | Path,
    bad_records: BadRecords = "refuse",
    text: TextLength | None = None,
    reader: ImageReader | None = None,
    broken: BadRecords = "refuse",
    folders: OpenFolder | None = None,
) -> Opened:
    """Open what a spec or a folder describes.

    Args:
        path: A yml, jsonl or json file in the official layout; the folder that `omnigen2 data optimize` wrote; the
            folder of one of its sources, either also as a URL such as `s3://BUCKET/FOLDER`; or a folder of pictures
            with captions.
        bad_records: What happens to bad records of jsonl files. Chunks have none.
        text: Counts the text tokens of jsonl files. Chunks bring their counts.
        reader: Decodes the images of jsonl files to find their sizes.
        broken: What happens to records of jsonl files whose images cannot be decoded, see `JsonlSource`.
        folders: Opens folders of chunks: `open_folder` if None.

    Raises:
        DataError: If the path is neither, or what it holds cannot be used.
    """
    place = Path(path)
    if not has_chunks(path) and (place.is_file() or has_captions(place)):
        sources: dict[str, Source] = {}
        bad: list[BadRecord] = []
        undecoded: list[BadRecord] = []
        entries = read_spec(place)
        for entry in entries:
            source = JsonlSource(entry.files, entry.image_root, bad_records, text, reader, broken)
            sources[entry.name] = source
            bad += source.bad
            undecoded += source.broken
        return Opened(sources, {entry.name: entry.ratio for entry in entries}, tuple(bad), tuple(undecoded))
    return (folders or open_folder)(path)


def has_chunks(path: str | Path) -> bool:
    """Whether a path is that of a folder of chunks: of one that is far away, what else it should be."""
    return is_remote(path) or any((Path(path) / name).is_file() for name in ("index.json", REPORT_FILE))


def open_folder(path: str | Path) -> Opened:
    """Open what `omnigen2 data optimize` wrote, or one of its sources.

    Raises:
        DataError: If it is something else, or damaged.
    """
    if is_remote(path):
        url = str(path).rstrip("/")
        content = read_remote(url, REPORT_FILE)
        if content is None:
            return Opened({url.rpartition("/")[2]: StreamingSource(url)}, {url.rpartition("/")[2]: 1.0}, ())
        weights = _weights(object_of(content, f"{url}/{REPORT_FILE}", DataError, REMEDY), url)
        return Opened({name: StreamingSource(f"{url}/{name}") for name in weights}, weights, ())
    folder = Path(path)
    if (folder / "index.json").is_file():
        name = folder.name or folder.resolve().name
        return Opened({name: StreamingSource(folder)}, {name: 1.0}, ())
    report = folder / REPORT_FILE
    if not report.is_file():
        endings = ("jsonl", "json", "yml", "yaml")
        lists = sorted({path.name for ending in endings for path in folder.glob(f"*.{ending}")} - {BAD_FILE})
        if lists:
            found = ", ".join(lists[:3])
            raise DataError(f"{folder} is no folder of chunks, but has {found}", "give the path of a file")
        raise DataError(
            f"{folder} is neither a yml or jsonl file nor a folder with a {REPORT_FILE} or with pictures and captions "
            "(a.jpg beside a.txt); check the path, or write the folder with `omnigen2 data optimize` (one that was "
            "stopped halfway has none)"
        )
    weights = _weights(read_object(report, DataError, REMEDY), str(folder))
    return Opened({name: StreamingSource(folder / name) for name in weights}, weights, ())


class Folders:
    """Opens each folder of chunks once, however often it is asked for.

    What is given out shares what is known of the samples, and has open chunks and connections of its own.
    """

    def __init__(self) -> None:
        self._opened: dict[str, Opened] = {}

    def __call__(self, path: str | Path) -> Opened:
        """As `open_folder`."""
        if (name := str(path)) not in self._opened:
            self._opened[name] = open_folder(path)
        opened = self._opened[name]
        return opened._replace(sources={name: copy(source) for name, source in opened.sources.items()})


def _weights(report: Fields, folder: str) -> dict[str, float]:
    """The sources of a folder, and their ratios.

    Raises:
        DataError: If there is none, or one that is to be drawn from is empty.
    """
    weights: dict[str, float] = {}
    empty: list[str] = []
    for entry in report.objects("sources"):
        name, ratio = entry.text("name"), entry.number("ratio", low=0)
        inside(Path(folder), name, f"{entry.where} the name", DataError)
        if name in weights or name in empty:
            raise DataError(f"{report.where} names {name} twice", REMEDY)
        if entry.whole("written", low=0):
            weights[name] = ratio
        elif ratio:
            empty.append(name)
    if not weights and not empty:
        raise DataError(f"{report.where} names no sources", REMEDY)
    if empty:
        raise DataError(
            f"{', '.join(empty)} of {folder} has no records, but a share of the draws; {folder}/{BAD_FILE} says what "
            "is wrong with them: mend that and write the folder again, or name the folders of single sources"
        )
    return weights
