"""Reading the official jsonl layout: one JSON object per line.

    {"task_type": "edit", "instruction": "…", "input_images": ["a.jpg"], "output_image": "b.jpg"}

`answer` (understanding, reflection), `meta` and null or missing `input_images` / `output_image` are allowed too.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, assert_never, cast

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
)
from omnigen2.files import BadLine, each_json_line
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
FIELDS = ("task_type", "instruction", "input_images", "output_image", "answer", "meta")


def read_jsonl(file: Path, image_root: Path | None = None) -> Iterator[tuple[int, Sample | BadRecord]]:
    """Read a jsonl file, line by line, as `omnigen2.files.each_json_line` does.

    Args:
        image_root: What relative image paths start from; the file's folder if None.

    Yields:
        The line's number, counted from 1, and a sample or what is wrong with it. Images are looked for, not opened.
    """
    root = file.parent if image_root is None else image_root
    for line in each_json_line(file, DataError):
        if isinstance(line, BadLine):
            yield line.number, BadRecord(file, line.number, line.problem)
            continue
        try:
            yield line.number, parse_record(line.value, f"{file.name}:{line.number}", root)
        except DataError as error:
            yield line.number, BadRecord(file, line.number, str(error))


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
    name = _text(fields, "task_type", key).lower()
    if name not in TASK_NAMES:
        raise DataError(f"{key} has task_type {name!r}, expected one of {', '.join(TASK_NAMES)}")
    images: Any = fields.get("input_images") or []
    if not isinstance(images, list) or not all(isinstance(image, str) for image in cast(list[Any], images)):
        raise DataError(f"{key} has input_images {images!r}, expected a list of paths")
    target = None if fields.get("output_image") is None else _text(fields, "output_image", key)
    answer = None if fields.get("answer") is None else _text(fields, "answer", key)
    return Sample(
        task=TASK_NAMES[name],
        instruction=_text(fields, "instruction", key),
        references=tuple(_existing(root / image, key) for image in cast(list[str], images)),
        target=None if target is None else _existing(root / target, key),
        answer=answer,
        key=key,
        meta=_text(fields, "meta", key) if "meta" in fields else "",
    )


def _text(fields: Mapping[str, Any], name: str, key: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise DataError(f"{key} has {name} {value!r}, expected text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{key} has half a character in its {name} (a lone surrogate, {error.reason})") from error
    return value


def _existing(path: Path, key: str) -> Path:
    try:
        there = path.is_file()
    except OSError as error:
        raise DataError(
            f"{key} names the image {str(path)[:100]}…, where nothing can be looked for ({error.strerror}); give the "
            "path of an image file"
        ) from error
    if not there:
        raise DataError(f"{key} names the image {path}, which does not exist")
    return path


class JsonlSource(ListSource):
    """The samples of jsonl files in the official layout.

    For small sets, such as fine-tuning on one's own pictures: all images are decoded once when the source is made, to
    find their sizes and whether they are sound. From some thousand pictures on, write chunks once with
    `omnigen2 data optimize` and use `StreamingSource`.

    Args:
        files: A jsonl file, or several.
        image_root: What relative image paths start from; each file's folder if None.
        bad_records: `"refuse"` raises at the first record that cannot be used; `"skip"` leaves them out and keeps
            them in the attribute `bad`.
        text: Counts the text tokens.
        reader: Decodes the images.

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
    ) -> None:
        self.bad: list[BadRecord] = []
        listed = [files] if isinstance(files, str | Path) else files
        root = None if image_root is None else Path(image_root)
        text, reader = text or ByteLength(), reader or ImageReader()
        usable: list[tuple[Sample, SampleSizes]] = []
        for file in map(Path, listed):
            for line, read in read_jsonl(file, root):
                made = _measured(read, file, line, text, reader)
                if not isinstance(made, BadRecord):
                    usable.append(made)
                    continue
                match bad_records:
                    case "refuse":
                        raise DataError(f"{made}\nmend or remove that line, or use bad_records='skip'")
                    case "skip":
                        self.bad.append(made)
                    case _:
                        assert_never(bad_records)
        if not usable:
            first = f", the first: {self.bad[0]}" if self.bad else ""
            names = ", ".join(map(str, listed))
            raise DataError(f"{names} has no usable record ({len(self.bad)} bad{first}); fill or remove it")
        super().__init__([sample for sample, _ in usable], text, reader)
        self._sizes = {number: sizes for number, (_, sizes) in enumerate(usable)}


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
