"""Instructions from the truth: what a curation without any mistake would write."""

from collections.abc import Sequence
from dataclasses import replace

from typing_extensions import override

from omnigen2.curation import Dropped, Item, OpenClip, Outcome, Step
from omnigen2.microworld.curated.chance import chance
from omnigen2.microworld.curated.words import NO_EDIT
from omnigen2.microworld.video import DrawnVideo, read_truth, true_edits
from omnigen2.microworld.world import choose

DARK = 0.1
"""The share of the light that a frame may miss or have too much."""


class TrueWords(Step):
    """Reads what was drawn from the file beside the video, and drops pairs between which no single edit lies.

    Pairs with a frame in a fade or a flash are dropped too: their instruction may be true, and says nothing of the
    light.

    Args:
        seed: Of the wordings.
    """

    batch = 64

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        video = read_truth(clip.file)
        return [self._written(item, video, clip.file.name) for item in items]

    def _written(self, item: Item, video: DrawnVideo, name: str) -> Outcome:
        first, last = (video.at(frame.seconds) for frame in (item.frames[0], item.frames[-1]))
        if max(abs(moment.light - 1) for moment in (first, last)) > DARK:
            return Dropped("a frame in another light")
        edits = true_edits(first, last)
        if not edits:
            return Dropped(NO_EDIT)
        return (replace(item, instruction=choose(edits, chance(self.seed, name, item.key)).instruction),)
