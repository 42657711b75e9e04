"""Key frames become sequences of pictures, and the changes between them are told one after another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from typing_extensions import override

from omnigen2.curation import CurationError, Dropped, Frame, Item, OpenClip, Outcome, Step
from omnigen2.curation.steps.chat import ChatStep, Content, Server, answer_schema
from omnigen2.curation.steps.words import UNUSABLE, usable_words

CHANGES = f"""\
You tell a story that is seen in pictures. You are shown two neighbouring pictures of one video. Say in one or two
sentences of plain English what changes from the first to the second: what somebody does, what changes around them, and
how somebody or something now looks. Write it in the present tense, so that it could be read before the second picture
is seen. Never mention the pictures.
{UNUSABLE}"""


class Sequences(Step):
    """Makes sequences of the key frames of a clip's scenes: one within each scene, and others across scenes.

    P4, section 9.5: sequences of up to five frames, within a scene and across scenes. Across, the middle frames of so
    many neighbouring scenes follow one another; no scene is in two of these sequences. A sequence across scenes comes
    out with the first of its scenes.

    Args:
        most: Frames of a sequence.
    """

    batch = 2**20  # all scenes of a clip, to see their neighbours

    def __init__(self, most: int = 5) -> None:
        if most < 2:
            raise CurationError(f"Sequences has most {most}", "give at least 2")
        self.most = most

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        for number, item in enumerate(items):
            within = replace(item, key=f"{item.key}, within", frames=self._spread(item.frames))
            scenes = items[number : number + self.most] if number % self.most == 0 else [item]
            made = [within] * (len(within.frames) > 1) + [_across(scenes)] * (len(scenes) > 1)
            outcomes.append(made or Dropped("too short for a sequence of its own"))
        return outcomes

    def _spread(self, frames: Sequence[Frame]) -> tuple[Frame, ...]:
        """So many of them at most, evenly spread, with both ends."""
        steps = min(self.most, len(frames)) - 1
        return tuple(frames[round(step * (len(frames) - 1) / max(1, steps))] for step in range(steps + 1))


def _across(scenes: Sequence[Item]) -> Item:
    first, last = scenes[0], scenes[-1]
    span = None if first.span is None or last.span is None else (first.span[0], last.span[1])
    frames = tuple(scene.frames[len(scene.frames) // 2] for scene in scenes)
    return replace(first, key=f"{first.key} to {last.key}, across", span=span, frames=frames)


class DescribeChanges(ChatStep):
    """Tells the change between each two neighbouring pictures of a sequence, and makes examples of its beginnings.

    P4, section 9.5: Qwen2.5-VL-7B says of each neighbouring pair what changed: actions, surroundings, looks. Every
    picture but the first is the target of one example, whose instruction counts the pictures before it and tells what
    leads from each to the next; so the last of them holds the whole sequence.

    Args:
        server: That is asked.
        system: What the model is told.
    """

    name = "changes"
    schema = answer_schema(usable="boolean", change="string", problem="string")

    def __init__(self, server: Server, system: str = CHANGES) -> None:
        super().__init__(server, system)

    @override
    def questions(self, item: Item, clip: OpenClip) -> Sequence[Content]:
        shown = [self.shown(frame, clip) for frame in item.frames]
        return [("First:", before, "Second:", after) for before, after in pairwise(shown)]

    @override
    def outcome(self, item: Item, answers: Sequence[Mapping[str, Any]], clip: OpenClip) -> Outcome | None:
        changes: list[str] = []
        for answer in answers:
            match answer:
                case {"usable": bool(usable), "change": str(change), "problem": str(problem)}:
                    said = usable_words(usable, change, problem, "change")
                case _:
                    return None
            if isinstance(said, Dropped):
                return said
            changes.append(said)
        return [
            replace(
                item,
                key=f"{item.key}, picture {number + 1}",
                frames=item.frames[: number + 1],
                instruction=told(changes[:number]),
            )
            for number in range(1, len(item.frames))
        ]


def told(changes: Sequence[str]) -> str:
    """What has happened so far and what comes next, as an instruction that counts the pictures from 1."""
    so_far = [f"Image {number}: {change}" for number, change in enumerate(changes[:-1], 2)]
    return " ".join(["Image 1 is the beginning.", *so_far, f"Draw what comes next: {changes[-1]}"])
