"""Copies: examples that are there twice, and those that are in a set that models are tested on.

Each example's pictures are hashed by a step, on whatever machine; what is compared afterwards are numbers.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from typing_extensions import override

from omnigen2.curation import CurationError, Dropped, Example, Item, OpenClip, Outcome, Step, Together
from omnigen2.curation.pairs import Hashes, HashIndex, hashes, hashes_of, near_duplicates, picture_hashes
from omnigen2.data import BadRecord, read_jsonl
from omnigen2.pictures import ImageReader

MADE = "hashes"
REMEDY = "add the step omnigen2.curation.steps.HashPictures behind all that change pictures"
ENDS = (".png", ".jpg", ".jpeg", ".webp")
READER = ImageReader(animated="first_frame")


class HashPictures(Step):
    """Stores perceptual hashes (pHash) of the pictures of items, for `Duplicates` and `Leaks`; drops nothing."""

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        found = {frame: picture_hashes(clip.read(frame)) for item in items for frame in item.frames}
        return [(item.with_made(MADE, [_written(found[frame]) for frame in item.frames]),) for item in items]


class Duplicates(Together):
    """Examples whose target is nearly that of an example of another clip, or its mirror image.

    Of several, the one whose clip's content comes first stays. Flat pictures are like nothing.

    Args:
        bits: The most in which perceptual hashes may differ, of 64.
        drop: Whether they are left out.
    """

    def __init__(self, bits: int = 6, drop: bool = True) -> None:
        HashIndex(bits)  # refuses what cannot be
        self.bits, self.drop = bits, drop

    @override
    def check(self, steps: Sequence[Step]) -> None:
        _check_hashed(steps)

    @override
    def named(self, examples: Sequence[Example]) -> Mapping[int, Dropped]:
        index, stayed = HashIndex(self.bits), list[int]()
        found: dict[int, Dropped] = {}
        for place, example in enumerate(examples):
            target = _hashes(example)[-1]
            if target is None:
                continue
            near = sorted((stayed[number], apart) for hashed in target for number, apart in index.near(hashed))
            other = next((one for one in near if examples[one[0]][0].clip != example[0].clip), None)
            if other is None:
                index.add(target[0])
                stayed.append(place)
            else:
                clip, item = examples[other[0]]
                detail = f"{other[1]} of 64 bits from {clip.clip.name}, {item.key}"
                found[place] = Dropped("nearly the target of another clip", detail)
        return found


class Leaks(Together):
    """Examples with a picture that is nearly one of a set that models are tested on, or its mirror image.

    Args:
        against: Folders of pictures, and jsonl files in the layout of training examples.
        bits: The most in which perceptual hashes may differ, of 64.
        drop: Whether they are left out.
    """

    def __init__(self, against: Sequence[str], bits: int = 6, drop: bool = True) -> None:
        HashIndex(bits)  # refuses what cannot be
        self.against, self.bits, self.drop = tuple(against), bits, drop

    @override
    def check(self, steps: Sequence[Step]) -> None:
        _check_hashed(steps)
        if not self._tested.names:
            raise CurationError(f"{', '.join(self.against) or 'against'} has no pictures", "name what to compare with")

    @cached_property
    def _tested(self) -> Hashes:
        for name in self.against:
            if not Path(name).exists():
                raise CurationError(f"there is no {name}", "name a folder of pictures, or a jsonl file")
        return hashes((name, READER.read(path)) for one in self.against for name, path in _pictures(Path(one)))

    @override
    def named(self, examples: Sequence[Example]) -> Mapping[int, Dropped]:
        mine = hashes_of((str(place), hashed) for place, example in enumerate(examples) for hashed in _hashes(example))
        found: dict[int, Dropped] = {}
        for near in near_duplicates(mine, self._tested, self.bits):
            detail = f"{near.bits} of 64 bits from {near.second}"
            found.setdefault(int(near.first), Dropped("a picture that models are tested on", detail))
        return found


def _check_hashed(steps: Sequence[Step]) -> None:
    """Find out whether pictures are hashed.

    Raises:
        CurationError: If they are not.
    """
    if not any(isinstance(step, HashPictures) for step in steps):
        raise CurationError("no step hashes the pictures of examples", REMEDY)


def _written(hashed: tuple[int, int] | None) -> list[str] | None:
    return None if hashed is None else [f"{one:016x}" for one in hashed]


def _hashes(example: Example) -> list[tuple[int, int] | None]:
    """Of all pictures of an example, as `HashPictures` stored them.

    Raises:
        CurationError: If it did not.
    """
    clip, item = example
    stored: Any = item.made.get(MADE)
    if stored is None or len(stored) != len(item.frames):
        raise CurationError(
            f"{clip.clip.name}, {item.key} has no hashes of its pictures",
            REMEDY,
        )
    return [None if one is None else (int(one[0], 16), int(one[1], 16)) for one in stored]


def _pictures(path: Path) -> Iterator[tuple[str, Any]]:
    """The name and the file of each picture of a set.

    Raises:
        CurationError: If a line of a jsonl file cannot be used.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in ENDS:
                yield f"{path.name}/{file.relative_to(path).as_posix()}", file
        return
    for number, sample in read_jsonl(path):
        if isinstance(sample, BadRecord):
            raise CurationError(str(sample), "correct the line, or leave the file out")
        for picture in sample.images:
            yield f"{path.name}:{number}", picture
