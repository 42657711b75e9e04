"""The world's own reader in the place of a vision-language model: it sees both pictures and writes the instruction."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from typing_extensions import override

from omnigen2.curation import Dropped, Item, OpenClip, Outcome, Step
from omnigen2.microworld.curated.chance import chance, check_shares
from omnigen2.microworld.curated.sight import name_of, scene_of
from omnigen2.microworld.tasks import EditTask, sample_edit
from omnigen2.microworld.video import VocabularyName, edits_between, vocabulary_named
from omnigen2.microworld.world import MAX_ITEMS, Scene

NO_EDIT = "no single edit lies between them"


class MicroWords(Step):
    """Reads both pictures and says the edit that lies between them, if it is one.

    Args:
        wrong: The share of instructions that are replaced by those of another edit, to see what that does.
        eager: The share of pairs without an instruction to be found that get one all the same, as from a model that
            never says that it cannot tell: it tells one of several changes, or one that is not there.
        vocabulary: Of edits that are not there.
        seed: Of which ones.
    """

    batch = 64

    def __init__(
        self, wrong: float = 0.0, eager: float = 0.0, vocabulary: VocabularyName = "full", seed: int = 0
    ) -> None:
        check_shares(self, {"wrong": wrong, "eager": eager})
        self.wrong, self.eager, self.seed = wrong, eager, seed
        self.known = vocabulary_named(vocabulary, 64)

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self._written(item, clip) for item in items]

    def _written(self, item: Item, clip: OpenClip) -> Outcome:
        shown = [clip.read(frame) for frame in (item.frames[0], item.frames[-1])]
        words = self.words(shown[0], shown[1], f"{clip.file.name} {item.key}")
        return words if isinstance(words, Dropped) else (replace(item, instruction=words),)

    def words(self, before: Any, after: Any, key: str) -> str | Dropped:
        """The instruction, in one of its wordings, or why there is none.

        Args:
            before: A square picture of the world, of Pillow or as uint8.
            after: Another.
            key: Draws the wording.
        """
        rng = chance(self.seed, key)
        source, target = scene_of(before), scene_of(after)
        fault = next((one for one in (source, target) if isinstance(one, Dropped)), Dropped(NO_EDIT))
        edits: Sequence[EditTask] = ()
        if isinstance(source, Scene) and isinstance(target, Scene):
            edits = edits_between(source, target)
            if not edits and rng.random() < self.eager:
                edits = _parts(source, target) or (sample_edit(self.known, rng),)
        elif rng.random() < self.eager:
            edits = (sample_edit(self.known, rng),)
        if not edits:
            return fault
        if rng.random() < self.wrong:
            return sample_edit(self.known, rng).instruction
        return edits[int(rng.integers(len(edits)))].instruction


def _parts(source: Scene, target: Scene) -> tuple[EditTask, ...]:
    """Edits that are a part of what happened: something is gone, or new."""
    before, after = ({name_of(item) for item in scene.items} for scene in (source, target))
    fewer = [replace(source, items=tuple(i for i in source.items if i != item)) for item in source.items]
    gone = [one for item, one in zip(source.items, fewer, strict=True) if name_of(item) not in after]
    new = [item for item in target.items if name_of(item) not in before and item.colour != source.background.tint]
    more = [replace(source, items=(*source.items, item)) for item in new if len(source.items) < MAX_ITEMS]
    return tuple(edit for scene in (*gone, *more) for edit in edits_between(source, scene))
