"""Reading the official layout: one JSON object per line, or in a .json file also one list of them.

    {"task_type": "edit", "instruction": "…", "input_images": ["a.jpg"], "output_image": "b.jpg"}

`answer` (understanding, reflection), `meta` (text) or `meta_data` (any JSON), and null or missing `input_images` /
`output_image` are allowed too. A `task_type` that is none of ours is that of a picture to be drawn, as in the official
loader: an edit where there are input images, and text to image where there are none.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, assert_never, cast

from omnigen2.data.captions import count_captions, read_captions
from omnigen2.data.samples import (
    TASKS,
    BadRecord,
    ByteLength,
    DataError,
    ListSource,
    Sample,
    SampleSizes,
    Task,
    TextLength,
    measure,
    stated_sizes,
)
from omnigen2.files import BadLine, each_json_item, each_json_line
from omnigen2.pictures import ImageFileError, ImageReader

BadRecords: TypeAlias = Literal["refuse", "skip"]
TASK_NAMES: dict[str, Task] = {
    **{task: task for task in TASKS},
    "t2i": "text_to_image",
    "image_edit": "edit",
    "editing": "edit",
    "in_context_generation": "in_context",
    "in_context_edit": "in_context",
    "ic": "in_context",
    "vqa": "understanding",
}
"""Names of tasks in jsonl files, in lower case."""
FIELDS = ("task_type", "instruction", "input_images", "output_image", "answer", "meta", "meta_data")


def task_named(name: str, references: int, answered: bool, key: str) -> Task:
    """The task of a record.

    Args:
        name: Its `task_type`.
        references: How many input images it has.
        answered: Whether it has an answer, so that more is asked than whether there is something to edit.
        key: What messages call it.

    Raises:
        DataError: If the name of an answered record is not known.
    """
    task = TASK_NAMES.get(name.lower())
    if task is None and (answered or not name.strip()):
        raise DataError(f"{key} has task_type {name!r}, expected one of {', '.join(TASK_NAMES)}")
    return task or ("edit" if references else "text_to_image")


def read_jsonl(file: Path, image_root: Path | None = None) -> Iterator[tuple[int, Sample | BadRecord]]:
    """Read a jsonl file, line by line, as `omnigen2.files.each_json_line` does; a .json file may be one list, too.

    Args:
        image_root: What relative image paths start from; the file's folder if None.

    Yields:
        The line's number, counted from 1, and a sample or what is wrong with it. Images are looked for, not opened.
    """
    root = file.parent if image_root is None else image_root
    for line in (each_json_item if file.suffix == ".json" else each_json_line)(file, DataError):
        if isinstance(line, BadLine):
            yield line.number, BadRecord(file, line.number, line.problem)
            continue
        try:
            yield line.number, parse_record(line.value, f"{file.name}:{line.number}", root)
        except DataError as error:
            yield line.number, BadRecord(file, line.number, str(error))


def read_records(path: Path, image_root: Path | None = None) -> Iterator[tuple[int, Sample | BadRecord]]:
    """Read what an entry of a spec names: a jsonl or json file, or a folder of pictures with captions.

    Yields:
        As `read_jsonl`; 0 for the line of a picture.
    """
    if path.is_dir():
        yield from ((0, read) for read in read_captions(path))
    else:
        yield from read_jsonl(path, image_root)


def count_records(path: Path) -> int:
    """How many records `read_records` yields."""
    if path.is_dir():
        return count_captions(path)
    return sum(1 for _ in (each_json_item if path.suffix == ".json" else each_json_line)(path, DataError))


def parse_record(fields: Mapping[str, Any], key: str, root: Path) -> Sample:
    """Make a sample of one record; its images are paths of existing files.

    Args:
        fields: What JSON gave.
        key: What messages call it.
        root: What relative image paths start from.

    Raises:
        DataError: If the record does not follow the layout, or an image file is missing.
    """
    unknown = sorted(fields.keys() - set(FIELDS))
    if unknown:
        raise DataError(f"{key} has unknown fields {', '.join(unknown)}; known are {', '.join(FIELDS)}")
    name = _text(fields, "task_type", key)
    images: Any = [] if fields.get("input_images") is None else fields["input_images"]
    if not isinstance(images, list) or not all(isinstance(image, str) for image in cast(list[Any], images)):
        raise DataError(f"{key} has input_images {images!r}, expected a list of paths")
    target = None if fields.get("output_image") is None else _text(fields, "output_image", key)
    answer = None if fields.get("answer") is None else _text(fields, "answer", key)
    return Sample(
        task=task_named(name, len(cast(list[Any], images)), answer is not None, key),
        instruction=_text(fields, "instruction", key),
        references=tuple(_existing(root, image, key) for image in cast(list[str], images)),
        target=None if target is None else _existing(root, target, key),
        answer=answer,
        key=key,
        meta=_meta(fields, key),
    )


def _meta(fields: Mapping[str, Any], key: str) -> str:
    given = [name for name in ("meta", "meta_data") if fields.get(name) is not None]
    if len(given) > 1:
        raise DataError(f"{key} has both meta and meta_data; keep one of them")
    if given == ["meta_data"] and not isinstance(fields["meta_data"], str):
        return json.dumps(fields["meta_data"], ensure_ascii=False)
    return _text(fields, given[0], key) if given else ""


def _text(fields: Mapping[str, Any], name: str, key: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise DataError(f"{key} has {name} {value!r}, expected text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{key} has half a character in its {name} (a lone surrogate, {error.reason})") from error
    return value


def _existing(root: Path, name: str, key: str) -> Path:
    """The path of an image file, which is there.

    Raises:
        DataError: If it is not.
    """
    path, shown = root / name, f"{str(root / name)[:100]}…" if len(str(root / name)) > 300 else root / name
    remedy = "give the path of an image file"
    try:
        there = path.is_file()
    except OSError as error:
        problem = f"{key} names the image {shown}, where nothing can be looked for ({error.strerror}); {remedy}"
        raise DataError(problem) from error
    if not name.strip() or path.is_dir():
        raise DataError(f"{key} names the image {name!r}, which is no file; {remedy}")
    if not there:
        raise DataError(f"{key} names the image {shown}, which does not exist")
    return path


class JsonlSource(ListSource):
    """The samples of jsonl files in the official layout, or of a folder of pictures with captions.

    For small sets, such as fine-tuning on one's own pictures: all images are decoded once when the source is made, to
    find their sizes and whether they are sound. From some thousand pictures on, write chunks once with
    `omnigen2 data optimize` and use `StreamingSource`.

    Args:
        files: A jsonl file, or several; also json files, and folders of pictures with captions.
        image_root: What relative image paths start from; each file's folder if None.
        bad_records: `"refuse"` raises at the first record that cannot be used; `"skip"` leaves them out and keeps
            them in the attribute `bad`.
        text: Counts the text tokens.
        reader: Decodes the images.
        broken: What happens to a record whose lines are right and whose images cannot be decoded: `"refuse"` makes it
            a bad record. `"skip"` keeps it, with the size that the image's head states, for whoever reads it to leave
            it out, and in the attribute `broken`: so a source has the same samples before and after an image breaks.

    Raises:
        DataError: If a file is missing, no record is left, or one is bad and is to be refused.
    """

    def __init__(
        self,
        files: str | Path | Sequence[str | Path],
        image_root: str | Path | None = None,
        bad_records: BadRecords = "refuse",
        text: TextLength | None = None,
        reader: ImageReader | None = None,
        broken: BadRecords = "refuse",
    ) -> None:
        self.bad: list[BadRecord] = []
        self.broken: list[BadRecord] = []
        listed = [files] if isinstance(files, str | Path) else files
        root = None if image_root is None else Path(image_root)
        text, reader = text or ByteLength(), reader or ImageReader()
        reads = [(file, *read) for file in map(Path, listed) for read in read_records(file, root)]
        usable: list[tuple[Sample, SampleSizes]] = []
        _refuse(bad_records, (read for _, _, read in reads))  # before the first picture is opened
        for file, line, read in reads:
            made = _measured(read, file, line, text, reader)
            if isinstance(made, BadRecord) and isinstance(read, Sample) and broken == "skip":
                self.broken.append(made)
                made = read, stated_sizes(read, text.count(read), reader)
            _refuse(bad_records, [made])
            if isinstance(made, BadRecord):
                self.bad.append(made)
            else:
                usable.append(made)
        if not usable:
            first = f", the first: {self.bad[0]}" if self.bad else ""
            names = ", ".join(map(str, listed))
            raise DataError(f"{names} has no usable record ({len(self.bad)} bad{first}); fill or remove it")
        super().__init__([sample for sample, _ in usable], text, reader)
        self._sizes = {number: sizes for number, (_, sizes) in enumerate(usable)}


def _refuse(bad_records: BadRecords, found: Iterable[object]) -> None:
    match bad_records:
        case "refuse":
            for one in found:
                if isinstance(one, BadRecord):
                    raise one.error("bad_records")
        case "skip":
            pass
        case _:
            assert_never(bad_records)


def _measured(
    read: Sample | BadRecord, file: Path, line: int, text: TextLength, reader: ImageReader
) -> tuple[Sample, SampleSizes] | BadRecord:
    """A sample whose images are sound, and its sizes."""
    if isinstance(read, BadRecord):
        return read
    try:
        return read, measure(read, text.count(read), reader)
    except ImageFileError as error:
        return BadRecord(file, line, str(error))
