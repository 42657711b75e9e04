"""The world's own reader in the place of a vision-language model: it writes the instructions of in-context examples."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from typing_extensions import override

from omnigen2.curation import Dropped, Item, OpenClip, Outcome, Step
from omnigen2.curation.steps import read_mask, told
from omnigen2.microworld.curated.chance import chance, check_shares
from omnigen2.microworld.curated.sight import at_mask, scene_of
from omnigen2.microworld.tasks import ContextKind, sample_context
from omnigen2.microworld.video import VocabularyName, contexts_of, edits_between, vocabulary_named
from omnigen2.microworld.world import Scene, describe, describe_background

MORE, LOST, MANY = "more in the picture than its subjects", "a subject is not seen", "more subjects than words can say"
KINDS: dict[tuple[bool, int], ContextKind] = {
    (False, 1): "single_object",
    (False, 2): "multiple_object",
    (True, 1): "scene_object",
    (True, 2): "scene_character_object",
}


class MicroInContextWords(Step):
    """Says where the subjects of the given pictures are in the target, in place of `DescribeInContext`.

    Their places are those of the masks: what is at them need not be what the given pictures show.

    Args:
        into_scene: Whether the last given picture is the target without its subjects, as in an in-context edit
            (`DescribeInContextEdit`); otherwise the target must show nothing but its subjects.
        wrong: The share of instructions that are replaced by those of another task, to see what that does.
        vocabulary: Of that task.
        seed: Of which ones.
    """

    def __init__(
        self, into_scene: bool = False, wrong: float = 0.0, vocabulary: VocabularyName = "full", seed: int = 0
    ) -> None:
        check_shares(self, {"wrong": wrong})
        self.into_scene, self.wrong, self.seed = into_scene, wrong, seed
        self._known = vocabulary_named(vocabulary, 64)

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self._written(item, clip) for item in items]

    def _written(self, item: Item, clip: OpenClip) -> Outcome:
        target = scene_of(clip.read(item.frames[-1]))
        if isinstance(target, Dropped):
            return target
        things = [at_mask(target.items, read_mask(clip, subject.masks[-1])) for subject in item.subjects]
        subjects = [thing for thing in things if thing is not None]
        if len(subjects) < len(things):
            return Dropped(LOST)
        if len(target.items) > len(set(subjects)) and not self.into_scene:
            return Dropped(MORE)
        words = contexts_of(subjects, target.background, self.into_scene)
        if not words:
            return Dropped(MANY)
        rng = chance(self.seed, clip.file.name, item.key)
        if rng.random() < self.wrong:
            kind = KINDS[self.into_scene, len(subjects)]
            words = (sample_context(self._known, rng, kind).instruction,)
        return (replace(item, instruction=words[int(rng.integers(len(words)))]),)


class MicroChanges(Step):
    """Says what leads from each picture of a sequence to the next, in place of `DescribeChanges`.

    That is an edit where a single one lies between two pictures, and a caption of the second otherwise.

    Args:
        seed: Of the wordings.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self._told(item, clip) for item in items]

    def _told(self, item: Item, clip: OpenClip) -> Outcome:
        scenes: list[Scene] = []
        for frame in item.frames:
            scene = scene_of(clip.read(frame))
            if isinstance(scene, Dropped):
                return scene
            scenes.append(scene)
        rng = chance(self.seed, clip.file.name, item.key)
        said = [changes_of(*pair) for pair in pairwise(scenes)]
        changes = [words[int(rng.integers(len(words)))] for words in said]
        return [
            replace(
                item,
                key=f"{item.key}, picture {number + 1}",
                frames=item.frames[: number + 1],
                instruction=told(changes[:number]),
            )
            for number in range(1, len(item.frames))
        ]


def changes_of(before: Scene, after: Scene) -> tuple[str, ...]:
    """Every way to say what leads from one picture to the next."""
    edits = edits_between(before, after)
    return tuple(edit.instruction for edit in edits) or (caption_of(after),)


def caption_of(scene: Scene) -> str:
    """All that a scene shows, in words."""
    things = " and ".join(describe(item.shape, item.colour, item.texture) for item in scene.items)
    return f"{things} on {describe_background(scene.background)}".strip()
