"""What a GenEval prompt asks for: the lines of the official metadata file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from omnigen2.rl.reward import RewardError
from omnigen2.rl.rewards.remote import unique_fields

Relation: TypeAlias = Literal["left of", "right of", "above", "below"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
"""The colours that GenEval knows."""

COCO_NAMES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "computer mouse", "tv remote", "computer keyboard", "cell phone", "microwave", "oven", "toaster",
    "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""COCO's 80 classes in its order, by the names that GenEval's prompts use."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Objects that a prompt asks for, or limits.

    Attributes:
        name: Their class.
        count: How many, at least 1; of a limit, the number that is too many.
        colour: That each must have, if it matters.
        position: How they stand to the objects of an earlier entry of `include`, and the number of that entry.
    """

    name: str
    count: int
    colour: str | None = None
    position: tuple[Relation, int] | None = None


@dataclass(frozen=True, slots=True)
class GenEvalTask:
    """One prompt and what it asks for.

    Attributes:
        tag: The kind of task, such as `two_object`; `counting` needs surer detections.
        prompt: In words.
        include: What must be there, at least one entry.
        exclude: Limits: fewer than `count` must be there.
    """

    tag: str
    prompt: str
    include: tuple[Wanted, ...]
    exclude: tuple[Wanted, ...] = ()

    @classmethod
    def from_json(cls, text: str, where: str = "the task") -> "GenEvalTask":
        """Read a line of the metadata file, which messages call `where`.

        Raises:
            RewardError: If it is something else.
        """
        try:
            found = json.loads(text, object_pairs_hook=unique_fields)
            tag, prompt = found["tag"], found["prompt"]
            include = tuple(_wanted(one, number) for number, one in enumerate(found["include"]))
            exclude = tuple(_wanted(one, 0) for one in found.get("exclude", []))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise RewardError(
                f"{where} is no GenEval task ({type(error).__name__}: {error}), got {text[:120]!r}; use lines of "
                "evaluation_metadata.jsonl"
            ) from error
        if not include or not isinstance(tag, str) or not isinstance(prompt, str):
            raise RewardError(f"{where} asks for nothing, or has no tag or prompt, got {text[:120]!r}; complete it")
        return cls(tag, prompt, include, exclude)


def _wanted(entry: Mapping[str, Any], number: int) -> Wanted:
    """One entry, checked.

    Raises:
        ValueError: If a field has a value that it cannot have.
    """
    unknown = set(entry) - {"class", "count", "color", "position"}
    name, count, colour = entry["class"], entry["count"], entry.get("color")
    if unknown or not isinstance(name, str) or type(count) is not int or count < 1:
        raise ValueError(f"an entry needs a class, a count of at least 1, perhaps a color and a position; got {entry}")
    if colour is not None and colour not in COLOURS:
        raise ValueError(f"the colours are {', '.join(COLOURS)}; got {colour!r}")
    if "position" not in entry:
        return Wanted(name, count, colour)
    relation, other = entry["position"]
    if relation not in RELATIONS or type(other) is not int or not 0 <= other < number:
        raise ValueError(f"a position is a relation to an earlier entry of include; got {entry['position']}")
    return Wanted(name, count, colour, (relation, other))
