"""What travels through a pipeline: a clip, and the items (scenes, pairs, examples) that its steps make of it.

Pixels do not travel: a step that picks frames writes them, and everything later holds their names. So an item is a few
hundred bytes of JSON, whatever the size of the video.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from omnigen2.errors import UserError
from omnigen2.files import write_bytes
from omnigen2.pictures import ImageReader


class CurationError(UserError):
    """A recipe, a folder or a step that cannot be used."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A file that training examples are made of: a video, or a picture.

    Attributes:
        name: Seen from the folder of all clips.
        content: SHA-256 of its bytes, in hexadecimal: what it is known by, whatever its name.
    """

    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture that was taken out of a clip.

    Attributes:
        seconds: When it is shown; 0 in a picture file.
        picture: Its PNG file, seen from the clip's folder.
    """

    seconds: float
    picture: str


@dataclass(frozen=True, slots=True)
class Subject:
    """A thing in the pictures of an item.

    Attributes:
        name: What it is called in an instruction, such as "the red ball"; never an id.
        box: Left, top, right and bottom in pixels of the item's first frame; None until it has been found.
        score: How sure the detector is, in [0, 1].
        masks: Where it is: for each frame of the item, in their order, a PNG of one channel, 255 on the subject; a
            picture without any 255 where it is not seen. Empty until it has been tracked.
    """

    name: str
    box: tuple[float, float, float, float] | None = None
    score: float = 0.0
    masks: tuple[Frame, ...] = ()

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Subject":
        """What `dataclasses.asdict` made of one."""
        box = values["box"]
        masks = tuple(Frame(**mask) for mask in values["masks"])
        return cls(values["name"], None if box is None else tuple(box), values["score"], masks)


@dataclass(frozen=True, slots=True)
class Item:
    """A part of a clip on its way to an example.

    Attributes:
        key: Tells it from the other items of its clip.
        span: Its first second, and the first that is no longer part of it; None is the whole clip.
        frames: Its pictures in their order; of an example, the last is the target.
        subjects: What is in its pictures, where a pipeline asks.
        scores: What steps have found, by name.
        instruction: Empty until a step has written one.
        made: How it came to be, by the names of steps: models, versions, answers; plain JSON.
    """

    key: str = "clip"
    span: tuple[float, float] | None = None
    frames: tuple[Frame, ...] = ()
    subjects: tuple[Subject, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    instruction: str = ""
    made: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def scored(self, scores: Mapping[str, float]) -> "Item":
        """The same with more scores."""
        return replace(self, scores={**self.scores, **scores})

    def with_made(self, name: str, value: Any) -> "Item":
        """The same with one more thing to be known about how it came to be."""
        return replace(self, made={**self.made, name: value})

    def to_json(self) -> dict[str, Any]:
        """Plain JSON, which `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Item":
        """What `to_json` wrote."""
        fields = dict(values)
        span = fields.pop("span")
        frames = tuple(Frame(**frame) for frame in fields.pop("frames"))
        subjects = tuple(map(Subject.from_json, fields.pop("subjects")))
        return cls(span=None if span is None else (span[0], span[1]), frames=frames, subjects=subjects, **fields)


@dataclass(frozen=True, slots=True)
class Dropped:
    """Why a step did not let an item go on.

    Attributes:
        reason: The same for all of a kind: they are counted by it.
        detail: What it was this time.
        transient: It says nothing about the item, and the same command may help: a server that did not answer. A clip
            with such an item is not finished.
        item: The item with what the step has found out about it; as it was if None.
    """

    reason: str
    detail: str = ""
    transient: bool = False
    item: Item | None = None


Outcome = Sequence[Item] | Dropped
"""What becomes of an item in a step: one or more items, or a named reason."""


@dataclass(frozen=True, slots=True)
class OpenClip:
    """What steps see of the clip whose items they work on.

    Attributes:
        file: The video or picture.
        folder: Where what is made of it is written.
    """

    file: Path
    folder: Path

    def keep(self, seconds: float, png: bytes, what: str = "") -> Frame:
        """Write a picture once; the same second gives the same frame.

        Args:
            what: Tells what was made of a frame, such as a mask, from the frame and from others of its second.
        """
        name = f"frames/{seconds:.4f}{'-' * bool(what)}{what}.png"
        path = self.folder / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(path, png)
        return Frame(seconds, name)

    def read(self, frame: Frame) -> Any:
        """A frame as an upright RGB picture of Pillow.

        Raises:
            ImageFileError: If it cannot be read.
        """
        return ImageReader().read(self.folder / frame.picture)
