"""How right a curation of drawn videos is: what the instructions say against what was drawn."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from omnigen2.curation import Dropped, Finished, Item, Section
from omnigen2.files import markdown_table
from omnigen2.microworld.curated.sight import scene_of
from omnigen2.microworld.curated.words import MicroWords
from omnigen2.microworld.video import DrawnVideo, edits_between, read_truth, true_edits, view_of
from omnigen2.pictures import ImageReader


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair of frames, against the truth.

    Attributes:
        possible: One edit lies between its frames, so that there is an instruction to be found.
        right: Of an instruction: it is one that leads from the one frame to the other. None if there is none.
        reason: Why it was dropped; empty if it was kept.
    """

    possible: bool
    right: bool | None
    reason: str


class EditTruth(Section):
    """Precision and recall of edit pairs from drawn videos, and what it would be without any filter.

    The truth lies beside each video, as `write_videos` of `omnigen2.microworld.video` leaves it.

    Args:
        painted: Whether the first picture was painted, as `FillRegion` does, so that it shows what is read in it.
    """

    def __init__(self, painted: bool = False) -> None:
        self.painted = painted

    @override
    def text(self, finished: Sequence[Finished], clips: Path) -> str:
        judged = [pair for one in finished for pair in judge_edits(one, clips, self.painted)]
        kept = [pair for pair in judged if not pair.reason]
        possible = sum(pair.possible for pair in judged)
        found = sum(pair.possible and bool(pair.right) for pair in kept)
        before = [pair.right for pair in judged if pair.right is not None]
        lines = [
            ["instructions that are true of their pair, kept", share(found, len(kept))],
            ["the same without a filter before the words", share(sum(map(bool, before)), len(before))],
            ["pairs with one true edit that were kept with a true instruction", share(found, possible)],
        ]
        lost = Counter(pair.reason for pair in judged if pair.reason and pair.possible)
        parts = ["## Against the truth", markdown_table(("share", "of all"), lines)]
        if lost:
            table = markdown_table(
                ("pairs with one true edit that were dropped as", "pairs"),
                [[reason, str(number)] for reason, number in lost.most_common()],
            )
            parts.append(table)
        return "\n\n".join(parts)


def judge_edits(finished: Finished, clips: Path, painted: bool = False) -> list[Judged]:
    """All pairs of a clip; of those that never got words, those that the world's reader would have given them."""
    path = clips / finished.clip.name
    if not path.with_suffix(".json").is_file():
        return []
    video, writer = read_truth(path), MicroWords()
    judged = [_judged(video, finished, item, item.instruction, "", painted) for item in finished.kept]
    for end in finished.ended:
        item = end.item
        if len(item.frames) < 2:
            continue
        words = item.instruction or _words(writer, finished, item)
        judged.append(_judged(video, finished, item, words, f"{end.step}: {end.reason}", painted))
    return judged


def _words(writer: MicroWords, finished: Finished, item: Item) -> str:
    shown = [ImageReader().read(finished.folder / frame.picture) for frame in item.frames]
    words = writer.words(shown[0], shown[-1], item.key)
    return "" if isinstance(words, Dropped) else words


def _judged(video: DrawnVideo, finished: Finished, item: Item, words: str, reason: str, painted: bool) -> Judged:
    first, last = (video.at(frame.seconds) for frame in (item.frames[0], item.frames[-1]))
    if painted:
        shown = scene_of(ImageReader().read(finished.folder / item.frames[0].picture))
        view = view_of(last)
        edits = () if isinstance(shown, Dropped) or view.cut else edits_between(shown, view.scene)
    else:
        edits = true_edits(first, last)
    true = {edit.instruction for edit in edits}
    return Judged(bool(true), words in true if words else None, reason)


def share(part: int, whole: int) -> str:
    """In words."""
    return f"{part} of {whole}" + (f" ({part / whole:.3f})" if whole else "")
