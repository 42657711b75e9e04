"""A video becomes its scenes."""

from collections.abc import Sequence
from dataclasses import replace

from typing_extensions import override

from omnigen2.curation import Dropped, Item, OpenClip, Outcome, Step
from omnigen2.curation.video import SIDE, Fault, SceneCuts, Video


class Cuts(Step):
    """Finds the scenes of a video, with one frame in memory at a time.

    A file that breaks off keeps what came before; why it did stands in `made["cuts"]` of its items.

    Args:
        cuts: What a cut is.
    """

    def __init__(self, cuts: SceneCuts | None = None) -> None:
        self.cuts = cuts or SceneCuts()

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self._scenes(item, clip) for item in items]

    def _scenes(self, item: Item, clip: OpenClip) -> Outcome:
        video = Video.open(clip.file)
        if isinstance(video, Fault):
            return Dropped(video.cause, video.detail.replace(str(clip.file), clip.file.name))
        frames = video.frames(side=SIDE)
        spans = self.cuts(frames)
        fault = frames.fault
        if fault is not None:
            item = item.with_made("cuts", {"fault": fault.cause})
        return [
            replace(item, key=f"scene {number}", span=(span.start, span.end)) for number, span in enumerate(spans)
        ] or Dropped("no frames" if fault is None else fault.cause)
