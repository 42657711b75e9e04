"""Opening a mixture by its path, as jsonl files or as chunks."""

import json
from pathlib import Path
from typing import NamedTuple

from omnigen2.data.chunks import StreamingSource
from omnigen2.data.jsonl import BadRecords, JsonlSource
from omnigen2.data.optimize import BAD_FILE, REPORT_FILE
from omnigen2.data.samples import BadRecord, DataError, Source, TextLength
from omnigen2.data.spec import read_spec
from omnigen2.pictures import ImageReader


class Opened(NamedTuple):
    """What a `Planner` mixes.

    Attributes:
        sources: By name.
        weights: By name: the ratios of the spec, which sum to 1.
        bad: Records that were left out, when they are to be skipped.
    """

    sources: dict[str, Source]
    weights: dict[str, float]
    bad: tuple[BadRecord, ...]


def open_data(
    path: str | Path,
    bad_records: BadRecords = "refuse",
    text: TextLength | None = None,
    reader: ImageReader | None = None,
) -> Opened:
    """Open what a spec or a folder describes.

    Args:
        path: A yml or jsonl file in the official layout; the folder that `omnigen2 data optimize` wrote; or the
            folder of one of its sources.
        bad_records: What happens to bad records of jsonl files. Chunks have none.
        text: Counts the text tokens of jsonl files. Chunks bring their counts.
        reader: Decodes the images of jsonl files to find their sizes.

    Raises:
        DataError: If the path is neither, or what it holds cannot be used.
    """
    place = Path(path)
    if place.is_file():
        sources: dict[str, Source] = {}
        bad: list[BadRecord] = []
        entries = read_spec(place)
        for entry in entries:
            source = JsonlSource(entry.files, entry.image_root, bad_records, text, reader)
            sources[entry.name] = source
            bad += source.bad
        return Opened(sources, {entry.name: entry.ratio for entry in entries}, tuple(bad))
    if (place / "index.json").is_file():
        return Opened({place.name: StreamingSource(place)}, {place.name: 1.0}, ())
    return _open_folder(place)


def _open_folder(folder: Path) -> Opened:
    report = folder / REPORT_FILE
    if not report.is_file():
        raise DataError(
            f"{folder} is neither a yml or jsonl file nor a folder with a {REPORT_FILE}; check the path, or write the "
            "folder with `omnigen2 data optimize` (one that was stopped halfway has none)"
        )
    try:
        entries = json.loads(report.read_text(encoding="utf-8"))["sources"]
        weights = {str(entry["name"]): float(entry["ratio"]) for entry in entries if entry["written"]}
        empty = [str(entry["name"]) for entry in entries if not entry["written"] and entry["ratio"]]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{report} is damaged ({error!r}); copy it anew or write the folder again") from error
    if empty:
        raise DataError(
            f"{', '.join(empty)} of {folder} has no records, but a share of the draws; {folder / BAD_FILE} says what "
            "is wrong with them: mend that and write the folder again, or name the folders of single sources"
        )
    return Opened({name: StreamingSource(folder / name) for name in weights}, weights, ())
