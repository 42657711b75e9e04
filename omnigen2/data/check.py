"""What is wrong with data as a whole, found before the first step: every line is read, no picture is opened."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from omnigen2.data.batches import TokenBudget
from omnigen2.data.captions import has_captions
from omnigen2.data.chunks import SizeTable, StreamingSource
from omnigen2.data.folder import OpenFolder, has_chunks, open_folder
from omnigen2.data.jsonl import BadRecords, read_records
from omnigen2.data.samples import BadRecord, ByteLength, DataError, Source
from omnigen2.data.spec import read_spec
from omnigen2.data.text_limit import TextLimit


@dataclass(frozen=True, slots=True)
class Looked:
    """What a model has to know of data.

    Attributes:
        references: The largest number of references of a sample.
        most: The sample that has them: its file and line, or its name in the chunks.
        undrawn: Likewise, the first sample without a target to draw; empty if there is none.
    """

    references: int = 0
    most: str = ""
    undrawn: str = ""

    def more(self, references: int, where: str, drawn: bool) -> "Looked":
        """The same with one more sample."""
        undrawn = self.undrawn or ("" if drawn else where)
        if references > self.references:
            return Looked(references, where, undrawn)
        return replace(self, undrawn=undrawn)

    def together(self, other: "Looked") -> "Looked":
        """What is known of both."""
        largest = max(self, other, key=lambda one: one.references)
        return replace(largest, undrawn=self.undrawn or other.undrawn)


def check_data(
    path: str | Path,
    bad_records: BadRecords = "refuse",
    texts: TextLimit | None = None,
    folders: OpenFolder = open_folder,
) -> Looked:
    """Look through what `open_data` will open.

    Args:
        path: As for `open_data`.
        bad_records: Whether a bad record is refused, or left for `open_data` to leave out.
        texts: How long texts may be; of any length if None.
        folders: Opens folders of chunks.

    Returns:
        What a model has to know of the samples, but for those of entries that are never drawn from (ratio 0).

    Raises:
        DataError: If something is missing or damaged, or a record is bad, or its text too long; it is named with file
            and line.
    """
    place, found = Path(path), Looked()
    if has_chunks(path) or not (place.is_file() or has_captions(place)):
        opened = folders(path)
        for name, source in opened.sources.items():
            if opened.weights[name] > 0 and isinstance(source, StreamingSource):
                found = found.together(_in_chunks(source, f"{name} in {path}", texts))
        return found
    for entry in read_spec(place):
        for file in entry.files:
            for line, read in read_records(file, entry.image_root):
                if not isinstance(read, BadRecord):
                    if entry.ratio > 0:
                        where = f"{file}, line {line}" if line else read.key
                        found = found.more(len(read.references), where, read.target is not None)
                        if texts is not None:
                            texts.check(where, read.instruction, read.answer or "", len(read.references))
                elif bad_records == "refuse":
                    raise read.error("bad_records")
    return found


def _in_chunks(source: StreamingSource, called: str, texts: TextLimit | None) -> Looked:
    def name(index: int) -> str:
        return f"sample {index} of {called} ({source[index].key})"

    if texts is not None and (texts.reads_stored or source.origins().states is None):
        for index in _perhaps_too_long(source.table, texts):
            sample = source[index]
            texts.check(name(index), sample.instruction, sample.answer or "", len(sample.references))
    found = source.envelope()
    undrawn = "" if found.first_undrawn is None else name(found.first_undrawn)
    return Looked(found.references, name(found.first_with_most), undrawn)


def _perhaps_too_long(table: SizeTable, texts: TextLimit) -> Iterator[int]:
    """Samples whose texts may be above a limit, by their number of bytes."""
    template, each = texts.bound.template, texts.bound.per_reference
    if isinstance(texts.bound, ByteLength):
        if table.most_bytes + template + each * table.envelope.references <= texts.most:
            return
        for samples, _ in table.slices():
            at_most = table.text_bytes[samples].astype(np.int64) + template + each * table.counts[samples]
            yield from (np.flatnonzero(at_most > texts.most) + samples.start).tolist()
    else:
        yield from range(len(table))


def check_budget(sources: Mapping[str, Source], budget: TokenBudget) -> dict[str, int]:
    """How many samples of each source are above the budget of a batch and will be left out; none are not listed.

    Raises:
        DataError: If one is, and is to be refused; it is named.
    """
    above: dict[str, int] = {}
    for name, source in sources.items():
        if budget.most(source.envelope()) <= budget.tokens:
            continue
        start = 0
        for block in source.blocks():
            costs = budget.costs(block)
            large = np.flatnonzero(costs > budget.tokens)
            if len(large) and budget.oversized == "refuse":
                first = int(large[0])
                raise DataError(
                    f"{source[start + first].key} of {name} takes {costs[first]} tokens, a batch has {budget.tokens}",
                    "raise the budget, or lower max_pixels or reference_pixels of its resize policy",
                    {"oversized": "leave such samples out with {} set to skip (in a recipe, of its budget)"},
                )
            if len(large):
                above[name] = above.get(name, 0) + len(large)
            start += len(block)
    return above
