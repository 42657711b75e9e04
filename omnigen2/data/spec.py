"""Reading the official yml layout: which jsonl files are mixed, and how.

    data:
      - path: text_to_image.jsonl     # relative to this file
        ratio: 0.7
      - path: edits/                  # a folder: all *.jsonl below it
        ratio: 0.3
        image_root: /data/images      # optional: what relative image paths start from
      - path: more.yml                # another such file
        ratio: 0.1

The official loader reads the ratios and then mixes as if they were all equal to the files' lengths. Ours mixes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from omnigen2.data.samples import DataError
from omnigen2.files import StrictLoader

KEYS = ("path", "ratio", "image_root", "name", "type")


@dataclass(frozen=True, slots=True)
class SpecEntry:
    """One source of a mixture.

    Attributes:
        name: Unique in its mixture.
        files: jsonl files, sorted; at least one.
        ratio: Its share of the draws, as a fraction of all; the shares of a spec sum to 1.
        image_root: What relative image paths start from; each file's folder if None.
    """

    name: str
    files: tuple[Path, ...]
    ratio: float
    image_root: Path | None


def read_spec(file: str | Path) -> tuple[SpecEntry, ...]:
    """Read a yml file in the official layout, or a single jsonl file.

    Returns:
        Its entries in order. Ratios are normalised; those of a nested file are shares of the entry that names it.

    Raises:
        DataError: If a file is missing or does not follow the layout, a ratio is negative, or all are 0.
    """
    path = Path(file)
    if path.suffix == ".jsonl":
        return (SpecEntry(path.stem, (_file(path),), 1.0, None),)
    entries = _read(path, ())
    names = [entry.name for entry in entries]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} has several entries named {', '.join(twice)}; give each a `name:` of its own")
    return entries


def _read(path: Path, above: tuple[Path, ...]) -> tuple[SpecEntry, ...]:
    if path.resolve() in above:
        raise DataError(f"{path} names itself, directly or through another file; remove the circle")
    try:
        content: Any = yaml.load(_file(path).read_text(encoding="utf-8"), StrictLoader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no YAML file ({error}); correct it") from error
    items: Any = cast(dict[str, Any], content).get("data") if isinstance(content, dict) else None
    if not isinstance(items, list) or not items:
        raise DataError(f"{path} has no list `data:`; expected `data: [{{path: x.jsonl, ratio: 0.5}}, …]`")
    checked = [_check(item, number, path) for number, item in enumerate(cast(list[Any], items), start=1)]
    total = sum(item["ratio"] for item in checked)
    if total == 0:
        raise DataError(f"all ratios of {path} are 0; make one of them positive")
    entries: list[SpecEntry] = []
    for item in checked:
        entries += _entries(item, item["ratio"] / total, path, (*above, path.resolve()))
    return tuple(entries)


def _check(item: Any, number: int, path: Path) -> dict[str, Any]:
    where = f"entry {number} of {path}"
    if not isinstance(item, dict):
        raise DataError(f"{where} is {item!r}; expected `path: …` and `ratio: …`")
    entry = cast(dict[str, Any], item)
    unknown = [key for key in entry if key not in KEYS]
    if unknown:
        raise DataError(f"{where} has unknown keys {unknown}; known are {', '.join(KEYS)}")
    if not isinstance(entry.get("path"), str):
        raise DataError(f"{where} has no path; give that of a jsonl or yml file, or of a folder")
    if not isinstance(entry.get("image_root"), str | None):
        raise DataError(f"{where} has image_root {entry['image_root']!r}; give the path of a folder")
    if entry.get("name") is not None and not _names_a_folder(entry["name"]):
        raise DataError(f"{where} has name {entry['name']!r}, under which no folder can be written; use a plain word")
    ratio = entry.get("ratio")
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 <= ratio < float("inf"):
        raise DataError(f"{where} has ratio {ratio!r}; give a number of at least 0")
    return entry


def _entries(item: dict[str, Any], ratio: float, spec: Path, above: tuple[Path, ...]) -> list[SpecEntry]:
    path = spec.parent / item["path"]
    root = None if item.get("image_root") is None else spec.parent / item["image_root"]
    own = path.stem if _names_a_folder(path.stem) else path.resolve().stem  # of `.` and `..`
    name = own if item.get("name") is None else str(item["name"])
    if path.suffix in (".yml", ".yaml"):
        return [SpecEntry(e.name, e.files, e.ratio * ratio, e.image_root or root) for e in _read(path, above)]
    if path.is_dir():
        files = tuple(sorted(path.rglob("*.jsonl")))
        if not files:
            raise DataError(f"the folder {path}, named in {spec}, has no *.jsonl files; check the path")
        return [SpecEntry(name, files, ratio, root)]
    if path.suffix != ".jsonl":
        raise DataError(f"{spec} names {path}, expected a .jsonl, .yml or .yaml file or an existing folder")
    return [SpecEntry(name, (_file(path),), ratio, root)]


def _names_a_folder(name: Any) -> bool:
    """Whether a folder of this name stays inside of the one that it is made in."""
    parts = Path(str(name)).parts
    return isinstance(name, str | int) and bool(parts) and ".." not in parts and not Path(str(name)).is_absolute()


def _file(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"there is no file {path}; check the path, which is relative to the file that names it")
    return path
