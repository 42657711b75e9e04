"""One training example of any task."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, assert_never, get_args

from omnigen2.data.samples.errors import DataError
from omnigen2.data.samples.kinds import LatentOrigin, Origins, StatesOrigin
from omnigen2.data.samples.stored import Stored
from omnigen2.pictures import ImageReader

Task: TypeAlias = Literal["text_to_image", "edit", "in_context", "understanding", "reflection", "interleaved"]
TASKS: tuple[Task, ...] = get_args(Task)
ImageFile: TypeAlias = Path | bytes
"""A path, or the contents of an image file. Decoded when a batch is made, not before."""
Size: TypeAlias = tuple[int, int]
"""(height, width) in pixels."""


class SampleSizes(NamedTuple):
    """How large a sample is, known without decoding it.

    Attributes:
        text_tokens: At most this many tokens of text.
        references: (height, width) in pixels of each reference, as stored and upright.
        target: (height, width) in pixels of the target; None if there is none.
    """

    text_tokens: int
    references: tuple[Size, ...]
    target: Size | None


@dataclass(frozen=True, slots=True)
class Sample:
    """One training example.

    What each task needs:

    | task | references | target | answer |
    |---|---|---|---|
    | text_to_image | none | yes | none |
    | edit, in_context | at least 1 | yes | none |
    | understanding | any number | none | yes |
    | reflection | at least 1: the first attempts | the better one, or none when the last attempt is good | yes |
    | interleaved | any number | a target, an answer, or both | |

    Attributes:
        task: What is asked.
        instruction: The words of the user; not empty.
        references: Images that are given, in the order in which the instruction counts them.
        target: The image to draw.
        answer: The words to answer with.
        key: Names the sample in messages, such as `edit.jsonl:17`.
        meta: Text that travels with the sample unread, such as a specification in JSON.
        latents: Of all images, if they were computed before; only for samples with a target.
        states: Of the instruction, if they were computed before; only for samples with a target.

    Raises:
        DataError: If a part that the task needs is missing, or one that it has no use for is there.
    """

    task: Task
    instruction: str
    references: tuple[ImageFile, ...] = ()
    target: ImageFile | None = None
    answer: str | None = None
    key: str = "<sample>"
    meta: str = ""
    latents: Stored[LatentOrigin] | None = None
    states: Stored[StatesOrigin] | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise DataError(f"{self.key} has task {self.task!r}, expected one of {', '.join(TASKS)}; correct its task")
        if not self.instruction.strip():
            raise DataError(f"{self.key} has an empty instruction; write one, or remove the record")
        if self.answer is not None and not self.answer.strip():
            raise DataError(f"{self.key} has an empty answer; write one, or leave the answer out")
        if b"" in (*self.references, self.target):
            raise DataError(f"{self.key} has an image of 0 bytes; replace it, or remove the record")
        if self.latents is not None and (self.target is None or len(self.latents.tensors) != len(self.images)):
            raise DataError(
                f"{self.key} has {len(self.latents.tensors)} latents for {len(self.images)} images; a sample with a "
                "target has one for each image, a sample without has none: write the chunks again"
            )
        if self.states is not None and (self.target is None or len(self.states.tensors) != 1):
            raise DataError(
                f"{self.key} has text states but no target to draw, or not those of one instruction; write the chunks "
                "again"
            )
        wrong = self._fault()
        if wrong:
            raise DataError(
                f"{self.key} is of task {self.task}, which {wrong}; complete the record or correct its task"
            )

    @property
    def images(self) -> tuple[ImageFile, ...]:
        """The references, then the target if there is one."""
        return self.references if self.target is None else (*self.references, self.target)

    @property
    def origins(self) -> Origins:
        """What made that of it which was computed before."""
        return Origins(
            None if self.latents is None else self.latents.origin, None if self.states is None else self.states.origin
        )

    def _fault(self) -> str:
        """How the parts do not fit the task, empty if they do."""
        got = f"(got {len(self.references)} references)"
        match self.task:
            case "text_to_image":
                if self.target is None:
                    return "needs a target image"
                if self.references:
                    return f"takes no references {got}"
                return "takes no answer" if self.answer is not None else ""
            case "edit" | "in_context":
                if self.target is None:
                    return "needs a target image"
                if not self.references:
                    return f"needs at least 1 reference {got}"
                return "takes no answer" if self.answer is not None else ""
            case "understanding":
                if self.answer is None:
                    return "needs an answer"
                return "takes no target image" if self.target is not None else ""
            case "reflection":
                if self.answer is None:
                    return "needs an answer"
                return f"needs at least 1 reference {got}" if not self.references else ""
            case "interleaved":
                return "needs a target image or an answer" if self.target is None and self.answer is None else ""
            case _:
                assert_never(self.task)


def measure(sample: Sample, text_tokens: int, reader: ImageReader) -> SampleSizes:
    """Decode the images of a sample, which proves them sound, and say how large they are upright.

    Args:
        text_tokens: At most this many tokens of text.
    """
    sizes = [size_of(image, f"of {sample.key}", reader) for image in sample.images]
    if sample.target is None:
        return SampleSizes(text_tokens, tuple(sizes), None)
    return SampleSizes(text_tokens, tuple(sizes[:-1]), sizes[-1])


def stated_sizes(sample: Sample, text_tokens: int, reader: ImageReader) -> SampleSizes:
    """The same of a sample with images that cannot be decoded, as their heads state it; 1x1 where they do not."""
    sizes = [reader.stated_size(image) or (1, 1) for image in sample.images]
    if sample.target is None:
        return SampleSizes(text_tokens, tuple(sizes), None)
    return SampleSizes(text_tokens, tuple(sizes[:-1]), sizes[-1])


def size_of(image: ImageFile, name: str, reader: ImageReader) -> Size:
    """(height, width) in pixels, upright, of an image; messages call it by its path, or by `name` if it has none."""
    picture = reader.read(image, name if isinstance(image, bytes) else None)
    return picture.height, picture.width
