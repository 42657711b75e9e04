"""The world's own reader in the place of a vision-language model: it sees both pictures and writes the instruction."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from typing_extensions import override

from omnigen2.curation import CurationError, Dropped, Item, OpenClip, Outcome, Step
from omnigen2.microworld.tasks import sample_edit
from omnigen2.microworld.video import edits_between
from omnigen2.microworld.world import Scene, full_vocabulary, read
from omnigen2.pictures import Picture, to_pixels

UNREADABLE, NO_EDIT = "a picture that cannot be read", "no single edit lies between them"


class MicroWords(Step):
    """Reads both pictures and says the edit that lies between them, if it is one.

    Args:
        wrong: The share of instructions that are replaced by those of another edit, to see what that does.
        seed: Of which ones.
    """

    batch = 64

    def __init__(self, wrong: float = 0.0, seed: int = 0) -> None:
        if not 0 <= wrong <= 1:
            raise CurationError(f"MicroWords has wrong {wrong}", "give a share from 0 to 1")
        self.wrong, self.seed = wrong, seed

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self._written(item, clip) for item in items]

    def _written(self, item: Item, clip: OpenClip) -> Outcome:
        shown = [to_pixels(clip.read(frame)) for frame in (item.frames[0], item.frames[-1])]
        words = self.words(shown[0], shown[1], f"{clip.file.name} {item.key}")
        return words if isinstance(words, Dropped) else (replace(item, instruction=words),)

    def words(self, before: Picture, after: Picture, key: str) -> str | Dropped:
        """The instruction, in one of its wordings, or why there is none.

        Args:
            before: A square picture of the world.
            after: Another.
            key: Draws the wording.
        """
        digest = hashlib.sha256(f"{self.seed} {key}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        scenes: list[Scene] = []
        for picture in (before, after):
            reading = read(picture)
            if reading.background is None or reading.unknown:
                return Dropped(UNREADABLE)
            try:
                scenes.append(Scene(reading.items, reading.background))
            except ValueError as error:  # more items than there can be, or of the background's colour
                return Dropped(UNREADABLE, str(error))
        edits = edits_between(*scenes)
        if not edits:
            return Dropped(NO_EDIT)
        if rng.random() < self.wrong:
            return sample_edit(full_vocabulary(64), rng).instruction
        return edits[int(rng.integers(len(edits)))].instruction
