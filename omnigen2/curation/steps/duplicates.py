"""A part of the report: examples that are there twice, and those that are in a set that models are tested on."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from omnigen2.curation import CurationError, Finished, Section
from omnigen2.curation.pairs import Duplicate, hashes, near_duplicates
from omnigen2.files import markdown_table
from omnigen2.pictures import ImageReader

SHOWN = 20
ENDS = (".png", ".jpg", ".jpeg", ".webp")


class Duplicates(Section):
    """Targets of different clips that are nearly the same picture; and, if one is named, those in another set.

    Args:
        against: A folder of pictures that examples should not have, such as those of a benchmark.
        bits: The most in which perceptual hashes may differ, of 64.
    """

    def __init__(self, against: str | None = None, bits: int = 6) -> None:
        if against is not None and not Path(against).is_dir():
            raise CurationError(f"there is no folder {against}", "name one with pictures, or leave it out")
        self.against, self.bits = against, bits

    @override
    def text(self, finished: Sequence[Finished], clips: Path) -> str:
        mine = hashes(_targets(finished))
        twice = [one for one in near_duplicates(mine, bits=self.bits) if _clip(one.first) != _clip(one.second)]
        parts = [f"## Nearly the same picture in different clips: {len(twice)}", _table(twice)]
        if self.against is not None:
            leaks = near_duplicates(mine, hashes(_pictures(Path(self.against))), self.bits)
            parts += [f"## Nearly the same picture as one of {Path(self.against).name}: {len(leaks)}", _table(leaks)]
        if mine.flat:
            parts.append(f"{len(mine.flat)} flat pictures were compared with nothing.")
        return "\n\n".join(part for part in parts if part)


def _targets(finished: Sequence[Finished]) -> Iterator[tuple[str, Any]]:
    """The target of each example, once."""
    for one in finished:
        for frame in dict.fromkeys(item.frames[-1] for item in one.kept):
            yield f"{one.clip.name} at {frame.seconds:.3f} s", ImageReader().read(one.folder / frame.picture)


def _clip(name: str) -> str:
    return name.rpartition(" at ")[0]


def _pictures(folder: Path) -> Iterator[tuple[str, Any]]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in ENDS:
            yield path.relative_to(folder).as_posix(), ImageReader(animated="first_frame").read(path)


def _table(found: Sequence[Duplicate]) -> str:
    if not found:
        return ""
    lines = [[one.first, one.second, str(one.bits), "yes" if one.mirrored else ""] for one in found[:SHOWN]]
    more = f"\n\nand {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return markdown_table(("one", "the other", "bits", "mirrored"), lines) + more
