"""What became of one clip, as a record and as training examples."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omnigen2.curation.items import Clip, CurationError, Frame, Item
from omnigen2.curation.step import ERROR, Count, End
from omnigen2.data import Task


@dataclass(frozen=True, slots=True)
class Finished:
    """All that became of one clip.

    Attributes:
        folder: What its frames are seen from.
        kept: Items that came through all steps.
        ended: Items that did not.
        counts: Of each step.
        made_with: Versions of the programs.
    """

    clip: Clip
    folder: Path
    kept: tuple[Item, ...]
    ended: tuple[End, ...]
    counts: tuple[Count, ...]
    made_with: Mapping[str, str]

    @property
    def errors(self) -> list[End]:
        """Items in which a step raised something."""
        return [end for end in self.ended if end.reason == ERROR]

    @property
    def unanswered(self) -> list[End]:
        """Items of which nothing is known yet, such as those that a server was silent about."""
        return [end for end in self.ended if end.transient]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON without the folder, which `from_json` reads."""
        values = asdict(self)
        del values["folder"]
        return values

    @classmethod
    def from_json(cls, folder: Path, values: Mapping[str, Any]) -> "Finished":
        """What `to_json` wrote."""
        return cls(
            Clip(**values["clip"]),
            folder,
            tuple(map(Item.from_json, values["kept"])),
            tuple(_end(end) for end in values["ended"]),
            tuple(Count(**count) for count in values["counts"]),
            values["made_with"],
        )


def _end(values: Mapping[str, Any]) -> End:
    fields = dict(values)
    return End(item=Item.from_json(fields.pop("item")), **fields)


def example(task: Task, item: Item, finished: Finished, folder: Path, identity: str) -> dict[str, Any]:
    """A line of a jsonl file in the official layout, with all that is known of where it comes from.

    Args:
        folder: What its pictures are seen from.
        identity: Of the recipe.

    Raises:
        CurationError: If the item is none yet.
    """
    clip = finished.clip
    check_whole(item)

    def seen(frame: Frame) -> str:
        return (finished.folder / frame.picture).relative_to(folder).as_posix()

    pictures = [seen(frame) for frame in item.frames]
    meta: dict[str, Any] = {
        "file": clip.name,
        "content": clip.content,
        "key": item.key,
        "seconds": [frame.seconds for frame in item.frames],
        "scores": dict(item.scores),
        "made": dict(item.made),
        "recipe": identity,
        "versions": dict(finished.made_with),
    }
    if item.subjects:
        meta["subjects"] = [{**asdict(one), "masks": [seen(mask) for mask in one.masks]} for one in item.subjects]
    return {
        "task_type": task,
        "instruction": item.instruction,
        "input_images": pictures[:-1],
        "output_image": pictures[-1],
        "meta_data": meta,
    }


def check_whole(item: Item) -> None:
    """Find out whether an item is an example.

    Raises:
        CurationError: If no step has given it pictures, or words.
    """
    if not item.frames or not item.instruction.strip():
        raise CurationError(
            f"{item.key}: the last step gives items without {'an instruction' if item.frames else 'pictures'}",
            "add a step that does, such as FramePairs or WriteInstruction",
        )


def lines(examples: Iterable[Mapping[str, Any]]) -> str:
    """JSON lines."""
    return "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in examples)


def funnel(finished: Sequence[Finished], steps: Sequence[str]) -> list[Count]:
    """The counts of all clips together, in the order of the steps."""
    totals: list[Count] = []
    for step in steps:
        counts = [count for one in finished for count in one.counts if count.step == step]
        dropped: dict[str, int] = {}
        for count in counts:
            for reason, number in count.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + number
        totals.append(
            Count(
                step,
                sum(count.taken for count in counts),
                sum(count.went_on for count in counts),
                sum(count.given for count in counts),
                dict(sorted(dropped.items())),
                sum(count.seconds for count in counts),
                sum(count.cpu for count in counts),
                dict(sum((Counter(count.spent) for count in counts), Counter[str]())),
            )
        )
    return totals
