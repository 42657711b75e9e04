"""Reading the official yml layout: which jsonl files are mixed, and how.

    data:
      - path: text_to_image.jsonl     # relative to this file, or else to the current folder
        ratio: 0.7
      - path: edits/                  # a folder: all *.jsonl and *.json below it
        ratio: 0.3
        image_root: /data/images      # optional: what relative image paths start from
      - path: photographs/            # or pictures with captions: a.jpg beside a.txt
        ratio: 0.2
      - path: more.yml                # another such file
        ratio: 0.1

The official loader reads the ratios and then mixes as if they were all equal to the files' lengths. Ours mixes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omnigen2.data.captions import LISTS, has_captions
from omnigen2.data.names import Named, different
from omnigen2.data.samples import DataError
from omnigen2.files import Fields, object_in, read_yaml

KEYS = ("path", "ratio", "image_root", "name", "type")
RATIO_TYPES = ("inside_ratio",)
"""What official files call their way of mixing: ratios are shares."""
LARGEST_RATIO = 1e100
"""So that sums of ratios are numbers."""
SPECS = (".yml", ".yaml")


@dataclass(frozen=True, slots=True)
class SpecEntry:
    """One source of a mixture.

    Attributes:
        name: Unique in its mixture; none is a folder of another.
        files: jsonl or json files, sorted, at least one; or a folder of pictures with captions.
        ratio: Its share of the draws, as a fraction of all; the shares of a spec sum to 1.
        image_root: What relative image paths start from; each file's folder if None.
    """

    name: str
    files: tuple[Path, ...]
    ratio: float
    image_root: Path | None


@dataclass(frozen=True, slots=True)
class _Item:
    """An entry as it was read, and the names of the entries that it lies in."""

    name: str | None
    place: Path
    files: tuple[Path, ...]
    ratio: float
    image_root: Path | None
    above: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def read_spec(file: str | Path) -> tuple[SpecEntry, ...]:
    """Read a yml file in the official layout, or take a single jsonl or json file, or a folder of such or of pictures.

    An entry is called by its `name`, or by its file. Where that is the name of several, as many folders are put before
    it as it takes (`edit/jsonls/0`), or else the name or the type of the entry that names its yml file.

    Returns:
        Its entries in order. Ratios are normalised; those of a nested file are shares of the entry that names it.

    Raises:
        DataError: If a file is missing or does not follow the layout, a ratio is negative, or all are 0.
    """
    path = Path(file)
    if path.is_dir():
        return (SpecEntry(path.name or path.resolve().name, _inside(path, str(path)), 1.0, None),)
    if path.suffix in LISTS:
        return (SpecEntry(path.stem, (_file(path),), 1.0, None),)
    items = _read(path, ())
    names = different([Named(one.place, one.name, one.above, one.labels) for one in items], path)
    return tuple(SpecEntry(name, one.files, one.ratio, one.image_root) for name, one in zip(names, items, strict=True))


def _read(path: Path, above: tuple[Path, ...]) -> list[_Item]:
    if path.resolve() in above:
        raise DataError(f"{path} names itself, directly or through another file; remove the circle")
    content: Any = read_yaml(_file(path), DataError)
    expected = "expected `data: [{path: x.jsonl, ratio: 0.5}, …]`"
    if not isinstance(content, dict) or not isinstance(content.get("data"), list) or not content["data"]:
        raise DataError(f"{path} has no list `data:`; {expected}")
    whole = object_in(cast(object, content), str(path), DataError, expected)
    whole.only("data", "ratio_type")
    if whole.has("ratio_type"):
        whole.choice("ratio_type", *RATIO_TYPES)
    checked = [_check(item, number, path) for number, item in enumerate(cast(list[Any], content["data"]), start=1)]
    total = sum(item.values["ratio"] for item in checked)
    if total == 0:
        raise DataError(f"all ratios of {path} are 0; make one of them positive")
    items: list[_Item] = []
    for item in checked:
        items += _entries(item.values, item.values["ratio"] / total, path, (*above, path.resolve()))
    return items


def _check(item: Any, number: int, path: Path) -> Fields:
    where = f"entry {number} of {path}"
    if not isinstance(item, dict):
        raise DataError(f"{where} is {item!r}; expected `path: …` and `ratio: …`")
    entry = Fields(cast(dict[str, Any], item), where, DataError)
    unknown = [key for key in entry.values if key not in KEYS]
    if unknown:
        raise DataError(f"{where} has unknown keys {unknown}; known are {', '.join(KEYS)}")
    if not isinstance(entry.values.get("path"), str) or not entry.text("path").strip():
        raise DataError(f"{where} has no path; give that of a jsonl or yml file, or of a folder")
    for name, expected in (("image_root", "give the path of a folder"), ("type", "give a word, such as edit")):
        if not isinstance(entry.values.get(name), str | None):
            raise DataError(f"{where} has {name} {entry.values[name]!r}; {expected}")
    name = entry.values.get("name")
    if name is not None and not _names_a_folder(name):
        raise DataError(f"{where} has name {name!r}, under which no folder can be written; use a plain word")
    ratio: Any = entry.values.get("ratio")
    if type(ratio) not in (int, float) or not 0 <= ratio <= LARGEST_RATIO:
        raise DataError(f"{where} has ratio {ratio!r:.60}; give a number of at least 0, and not above {LARGEST_RATIO}")
    return entry


def _entries(item: Mapping[str, Any], ratio: float, spec: Path, above: tuple[Path, ...]) -> list[_Item]:
    path = _found(item["path"], spec)
    root = None if item.get("image_root") is None else _found(item["image_root"], spec)
    name = None if item.get("name") is None else str(item["name"])
    if path.suffix in SPECS and not path.is_dir():
        label = name or item.get("type") or path.stem
        return [
            _Item(
                e.name,
                e.place,
                e.files,
                e.ratio * ratio,
                e.image_root or root,
                above=e.above if name is None else (name, *e.above),
                labels=(label, *e.labels),
            )
            for e in _read(path, above)
        ]
    place = path.absolute() if path.name not in ("", "..") else path.resolve()
    if path.is_dir():
        return [_Item(name, place, _inside(path, f"the folder {path}, named in {spec},"), ratio, root)]
    if path.suffix not in LISTS:
        raise DataError(f"{spec} names {path}, expected a .jsonl, .json, .yml or .yaml file or an existing folder")
    return [_Item(name, place.with_suffix(""), (_file(path),), ratio, root)]


def _inside(folder: Path, called: str) -> tuple[Path, ...]:
    """The lists in a folder; the folder itself if it has pictures with captions instead.

    Raises:
        DataError: If it has neither, or holds chunks.
    """
    if (folder / "samples.safetensors").is_file() or (folder / "report.json").is_file():
        remedy = "give it as a part of its own, not in a yml"
        raise DataError(f"{called} has chunks of `omnigen2 data optimize`", remedy)
    files = tuple(sorted(file for kind in LISTS for file in folder.rglob(f"*{kind}")))
    if files or has_captions(folder):
        return files or (folder,)
    raise DataError(
        f"{called} has no *.jsonl files, no *.json, and no pictures with captions (a.jpg beside a.txt); check the path"
    )


def _found(text: str, spec: Path) -> Path:
    """A path beside the file that names it or, as the official loader looks for it, in the current folder.

    Raises:
        DataError: If it is no path.
    """
    beside = spec.parent / text
    try:
        return Path(text) if not beside.exists() and Path(text).exists() else beside
    except OSError as error:
        raise DataError(f"{spec} names {text[:100]!r}, where nothing can be looked for ({error.strerror})") from error


def _names_a_folder(name: Any) -> bool:
    """Whether a folder of this name stays inside of the one that it is made in."""
    parts = Path(str(name)).parts
    plain = bool(parts) and ".." not in parts and not Path(str(name)).is_absolute() and str(name).isprintable()
    return type(name) in (str, int) and plain


def _file(path: Path) -> Path:
    if path.is_dir():
        raise DataError(f"{path} is a folder, expected a file; check the path")
    if not path.is_file():
        raise DataError(f"there is no file {path}; check the path, which is relative to the file that names it")
    return path
