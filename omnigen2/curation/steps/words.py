"""Instructions and captions written by a vision-language model that sees the pictures."""

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from typing_extensions import override

from omnigen2.curation import Dropped, Item, OpenClip, Outcome
from omnigen2.curation.steps.chat import ChatStep, Content, Server, answer_schema
from omnigen2.rl.rewards.remote import Schema

LONGEST = 1000
"""Characters of an instruction, or of a caption."""
UNUSABLE = """\
Describe things by how they look. Never mention frames, videos, or ids and numbers that a program gives to things.
If you cannot tell, or there is nothing to say, set "usable" to false and say why in "problem"; otherwise leave
"problem" empty."""
INSTRUCTION = f"""\
You write instructions for an image editing model. You are shown a picture before and a picture after an edit. Write one
instruction in plain English that turns the first into the second: say what changes (what somebody does, how they move,
their expression, what appears, what is gone), and nothing that stays. If so much changes that no single instruction
says it, it is not usable. Never mention the pictures.
{UNUSABLE}"""
CAPTION = f"""\
You write captions that a model learns to draw from. Describe the picture in one paragraph of plain English: its
subjects, how they look and what they do, where they are to one another, the surroundings, the light, the style, and
words that are written in it. Say what is seen and nothing else.
{UNUSABLE}"""
IN_CONTEXT = f"""\
You write instructions for a model that draws a new picture with the subjects of given ones. You are shown the given
pictures as image 1, image 2 and so on, and then the new picture. First describe the subject of each given picture in a
few words ("subjects"). Then describe the new picture at length ("caption"). Then join both to one instruction in plain
English ("instruction"): it says what each subject does in the new picture, where, and in which surroundings, and it
names each given picture once or more by its number, such as "the dog from image 1", never describing how that subject
looks any further.
{UNUSABLE}"""
IN_CONTEXT_EDIT = f"""\
You write instructions for an image editing model. You are shown pictures that each have a subject, as image 1, image 2
and so on; the last of them is the picture that is to be edited. Then you are shown the result of the edit. First
describe the subjects of the other pictures in a few words ("subjects"). Then describe what the edit changes at length
("caption"). Then join both to one instruction in plain English ("instruction"), such as "Put the dog from image 1 onto
the sofa in image 2": it says where each subject is put and what it does there, and names each given picture by its
number.
{UNUSABLE}"""
IMAGE = re.compile(r"\bimage (\d+)\b", re.IGNORECASE)


class Writing(ChatStep):
    """Asks for the words of each item in one question.

    Attributes:
        words: The field of the answer that becomes the instruction.
    """

    name = "words"
    words: ClassVar[str] = "instruction"
    schema: ClassVar[Schema] = answer_schema(usable="boolean", instruction="string", problem="string")

    @abstractmethod
    def labels(self, pictures: int) -> Sequence[str]:
        """What is said before each of the pictures."""

    def wrong(self, words: str, item: Item) -> Dropped | None:
        """Why these words do not do for an item."""
        return None

    @override
    def questions(self, item: Item, clip: OpenClip) -> Sequence[Content]:
        labels = self.labels(len(item.frames))
        content: list[Any] = []
        for label, frame in zip(labels, item.frames, strict=True):
            content += [f"{label}:", self.shown(frame, clip)]
        return [tuple(content)]

    @override
    def outcome(self, item: Item, answers: Sequence[Mapping[str, Any]], clip: OpenClip) -> Outcome | None:
        match answers[0]:
            case {"usable": bool(usable), self.words: str(words), "problem": str(problem)}:
                said = usable_words(usable, words, problem, self.words)
            case _:
                return None
        if isinstance(said, Dropped):
            return said
        return self.wrong(said, item) or (replace(item, instruction=said),)


class WriteInstruction(Writing):
    """Writes the instruction that leads from the first picture to the last.

    P4, section 9.4.2: Qwen2.5-VL-72B writes the instruction of a pair of frames; section 9.4.1: afterwards, from the
    filled picture to the original one.

    Args:
        server: That is asked.
        system: What the model is told.
    """

    def __init__(self, server: Server, system: str = INSTRUCTION) -> None:
        super().__init__(server, system)

    @override
    def labels(self, pictures: int) -> Sequence[str]:
        return [*["Before"] * (pictures - 1), "After"]


class Recaption(Writing):
    """Writes the caption of a picture, so that it becomes an example of text to image.

    P4, section 3.1: ten million pictures are captioned by Qwen2.5-VL-72B.

    Args:
        server: That is asked.
        system: What the model is told.
    """

    words = "caption"
    schema = answer_schema(usable="boolean", caption="string", problem="string")

    def __init__(self, server: Server, system: str = CAPTION) -> None:
        super().__init__(server, system)

    @override
    def labels(self, pictures: int) -> Sequence[str]:
        return ["Picture"]


class DescribeInContext(Writing):
    """Writes the instruction of an in-context example: given pictures, then the one that was filmed.

    P4, section 9.3.1, step 8: short descriptions of the subjects and a long caption of the target become the
    instruction. Here the model writes the three in one answer, and has to name each given picture by its number.

    Args:
        server: That is asked.
        system: What the model is told.
    """

    schema = answer_schema(
        usable="boolean",
        subjects={"type": "array", "items": {"type": "string"}},
        caption="string",
        instruction="string",
        problem="string",
    )

    def __init__(self, server: Server, system: str = IN_CONTEXT) -> None:
        super().__init__(server, system)

    @override
    def labels(self, pictures: int) -> Sequence[str]:
        return [*(f"Image {number}" for number in range(1, pictures)), "New picture"]

    @override
    def wrong(self, words: str, item: Item) -> Dropped | None:
        named, given = {int(number) for number in IMAGE.findall(words)}, set(range(1, len(item.frames)))
        if named - given:
            return Dropped("the instruction names a picture that is not given", words[:200])
        return Dropped("the instruction does not name every picture", words[:200]) if given - named else None


class DescribeInContextEdit(DescribeInContext):
    """Writes the instruction of an in-context edit: pictures of subjects, then the input, then the target.

    P4, section 9.3.2: Qwen2.5-VL-72B describes the change from input to target, joined with the subject's description.

    Args:
        server: That is asked.
        system: What the model is told.
    """

    def __init__(self, server: Server, system: str = IN_CONTEXT_EDIT) -> None:
        super().__init__(server, system)

    @override
    def labels(self, pictures: int) -> Sequence[str]:
        return [*(f"Image {number}" for number in range(1, pictures)), "Result"]


def usable_words(usable: bool, words: str, problem: str, what: str) -> str | Dropped:
    """What a model has written, or why it does not do.

    Args:
        usable: Whether the model says that it could be written.
        words: On one line in what is returned.
        problem: What the model says otherwise.
        what: Names the words in reasons.
    """
    words = " ".join(words.split())
    if not usable:
        return Dropped(f"the model finds no {what}", problem[:200])
    if not words:
        return Dropped(f"the model gave an empty {what}")
    if len(words) > LONGEST:
        return Dropped(f"the {what} is too long", f"{len(words)} characters")
    return words
