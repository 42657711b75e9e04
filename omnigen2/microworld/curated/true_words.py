"""Instructions from the truth: what a curation without any mistake would write."""

from collections.abc import Sequence
from dataclasses import replace

from typing_extensions import override

from omnigen2.curation import Dropped, Item, OpenClip, Outcome, Step
from omnigen2.microworld.curated.chance import chance
from omnigen2.microworld.curated.words import NO_EDIT
from omnigen2.microworld.video import read_truth, true_edits
from omnigen2.microworld.world import choose


class TrueWords(Step):
    """Reads what was drawn from the file beside the video, and drops pairs between which no single edit lies.

    Args:
        seed: Of the wordings.
    """

    batch = 64

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        video = read_truth(clip.file)
        outcomes: list[Outcome] = []
        for item in items:
            edits = true_edits(video.at(item.frames[0].seconds), video.at(item.frames[-1].seconds))
            rng = chance(self.seed, clip.file.name, item.key)
            words = choose(edits, rng).instruction if edits else ""
            outcomes.append((replace(item, instruction=words),) if words else Dropped(NO_EDIT))
        return outcomes
