"""What is wrong with data as a whole, found before the first step: every line is read, no picture is opened."""

from collections.abc import Mapping
from pathlib import Path
from typing import assert_never

from omnigen2.data.batches import TokenBudget
from omnigen2.data.captions import has_captions
from omnigen2.data.folder import open_folder
from omnigen2.data.jsonl import BadRecords, read_records
from omnigen2.data.samples import BadRecord, DataError, Source
from omnigen2.data.spec import read_spec


def check_data(path: str | Path, bad_records: BadRecords = "refuse") -> tuple[int, str]:
    """Look through what `open_data` will open.

    Args:
        path: As for `open_data`.
        bad_records: Whether a bad record is refused, or left for `open_data` to leave out.

    Returns:
        The largest number of references of a sample, and the sample's file and line, or its name in the chunks.

    Raises:
        DataError: If something is missing or damaged, or a record is bad; it is named with file and line.
    """
    most, where = 0, str(path)
    place = Path(path)
    if place.is_file() or has_captions(place):
        for entry in read_spec(place):
            for file in entry.files:
                for line, read in read_records(file, entry.image_root):
                    if isinstance(read, BadRecord):
                        if bad_records == "refuse":
                            raise read.error("bad_records")
                    elif len(read.references) > most:
                        most, where = len(read.references), f"{file}, line {line}"
        return most, where
    for name, source in open_folder(place).sources.items():
        counts = [len(source.sizes(index).references) for index in range(len(source))]
        if max(counts) > most:
            most, index = max(counts), counts.index(max(counts))
            where = f"sample {index} of {name} in {place} ({source[index].key})"
    return most, where


def check_budget(sources: Mapping[str, Source], budget: TokenBudget) -> dict[str, int]:
    """How many samples of each source are above the budget of a batch and will be left out; none are not listed.

    Raises:
        DataError: If one is, and is to be refused; it is named.
    """
    above: dict[str, int] = {}
    for name, source in sources.items():
        for index in range(len(source)):
            cost = budget.cost(source.sizes(index))
            if cost <= budget.tokens:
                continue
            match budget.oversized:
                case "refuse":
                    raise DataError(
                        f"{source[index].key} of {name} takes {cost} tokens, a batch has {budget.tokens}",
                        "raise the budget, or lower max_pixels or reference_pixels of its resize policy, or leave such "
                        "samples out with oversized='skip' (in a recipe: `budget: {oversized: skip}`)",
                    )
                case "skip":
                    above[name] = above.get(name, 0) + 1
                case _:
                    assert_never(budget.oversized)
    return above
