"""The subjects of a picture, named by a vision-language model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from typing_extensions import override

from omnigen2.curation import CurationError, Dropped, Item, OpenClip, Outcome, Subject
from omnigen2.curation.steps.chat import ChatStep, Content, Server, answer_schema
from omnigen2.curation.steps.ids import leaked_ids

NAMES = """\
You name what a picture is of, for a program that then looks for it. List its salient subjects, the most salient first:
people, animals and things that stand out and are seen as a whole. Leave out the background: sky, ground, walls, water,
buildings and plants far away. Each name is a short noun phrase in plain English that tells the subject from everything
else in the picture by how it looks, such as "the red ball" or "the woman with the hat": no full stops, no commas, no
numbers or ids, no name twice. If nothing stands out, give an empty list."""
MARKS = frozenset(".,;:!?\n")


class NameSubjects(ChatStep):
    """Gives an item the names of the subjects of its first frame.

    P4, section 9.3.1, step 2: Qwen2.5-VL-7B names the salient subjects, and not the background.

    Args:
        server: That is asked.
        most: Subjects of an item; of more names the first count.
        longest: Words of a name.
        system: What the model is told.
    """

    name = "names"
    schema = answer_schema(names={"type": "array", "items": {"type": "string"}})

    def __init__(self, server: Server, most: int = 3, longest: int = 6, system: str = NAMES) -> None:
        super().__init__(server, system)
        if most < 1 or longest < 1:
            raise CurationError(f"NameSubjects has most {most} and longest {longest}", "give at least 1 of each")
        self.most, self.longest = most, longest

    @override
    def questions(self, item: Item, clip: OpenClip) -> Sequence[Content]:
        return [("Picture:", self.shown(item.frames[0], clip))]

    @override
    def outcome(self, item: Item, answers: Sequence[Mapping[str, Any]], clip: OpenClip) -> Outcome | None:
        match answers[0]:
            case {"names": list(said)} if all(isinstance(name, str) for name in said):
                names: list[str] = [" ".join(name.split()) for name in said]
            case _:
                return None
        if not names:
            return Dropped("no subject is named")
        for name in names:
            if not name or len(name.split()) > self.longest or MARKS & set(name) or leaked_ids(name):
                return Dropped("a name that is no short noun phrase", name[:200])
        if len({name.lower() for name in names}) < len(names):
            return Dropped("a name that is there twice", ", ".join(names)[:200])
        return (replace(item, subjects=tuple(map(Subject, names[: self.most]))),)
