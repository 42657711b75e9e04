"""Scenes become pairs of frames; pairs are dropped whose viewpoint moved, or that are nearly equal or too different."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from typing_extensions import override

from omnigen2.curation import CurationError, Dropped, Frame, Item, OpenClip, Outcome, Resources, Scoring, Step
from omnigen2.curation.pairs import GAPS, BlockHistograms, EmbeddingDistance, PixelDistance, frame_pairs
from omnigen2.curation.steps.masks import png
from omnigen2.curation.video import Fault, Pixels, Video


class FramePairs(Step):
    """Takes several pairs of frames out of a scene, and writes the frames as PNG files.

    Args:
        gaps: Between the two frames of a pair, in seconds.
        most: Pairs of a scene.
        margin: Seconds at both ends of the scene that are left out.
    """

    def __init__(self, gaps: Sequence[float] = GAPS, most: int = 6, margin: float = 0.1) -> None:
        self.gaps, self.most, self.margin = tuple(gaps), most, margin
        frame_pairs(0, 1, gaps, most, margin)  # refuses what cannot be

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        return [self._pairs(item, clip) for item in items]

    def _pairs(self, item: Item, clip: OpenClip) -> Outcome:
        video = Video.open(clip.file)
        if isinstance(video, Fault):
            return Dropped(video.cause, video.detail)
        start, end = item.span or (video.start, video.start + (video.length or 0.0))
        pairs = frame_pairs(start, end, self.gaps, self.most, self.margin)
        times = sorted({time for pair in pairs for time in pair})
        kept: dict[float, Frame] = {}
        faults: list[str] = []
        for time, frame in zip(times, video.at(times), strict=True):
            if isinstance(frame, Fault):
                faults.append(frame.cause)
            else:
                kept[time] = clip.keep(frame.time, png(frame.pixels))
        whole = dict.fromkeys((kept[first], kept[second]) for first, second in pairs if {first, second} <= kept.keys())
        if faults:
            item = item.with_made("pairs", {"fault": faults[0]})
        return [
            replace(item, key=f"{item.key}, {first.seconds:.3f} to {second.seconds:.3f}", frames=(first, second))
            for first, second in whole
            if first != second
        ] or Dropped(faults[0] if faults else "too short for a pair")


class SameView(Scoring):
    """Drops pairs between which the camera moved: colour histograms are compared block by block.

    P4, section 9.4.2. Score `same_view`: the share of blocks that agree, in [0, 1].

    Args:
        least: Of `same_view`.
        blocks: How blocks are compared.
    """

    reasons = {"same_view.least": "another viewpoint"}
    batch = 64

    def __init__(self, least: float = 0.5, blocks: BlockHistograms | None = None) -> None:
        self.least, self.blocks = least, blocks or BlockHistograms()

    @property
    @override
    def limits(self) -> Mapping[str, float]:
        return {"same_view.least": self.least}

    @override
    def score(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Mapping[str, float]]:
        found = {frame: self.blocks.of(np.asarray(clip.read(frame))) for item in items for frame in item.frames}
        return [{"same_view": self.blocks.agreement(found[item.frames[0]], found[item.frames[-1]])} for item in items]


class Different(Scoring):
    """Drops pairs that are nearly equal, and pairs that have little in common.

    Args:
        measure: What is measured; the score is called after it.
        least: Of its score.
        most: Of its score.
    """

    batch = 32

    def __init__(self, measure: str, least: float, most: float) -> None:
        self.measure, self.least, self.most = measure, least, most
        self.reasons = {f"{measure}.least": "nearly equal", f"{measure}.most": "too different"}

    @property
    @override
    def limits(self) -> Mapping[str, float]:
        return {f"{self.measure}.least": self.least, f"{self.measure}.most": self.most}

    @abstractmethod
    def apart(self, pairs: Sequence[tuple[Pixels, Pixels]]) -> list[float]:
        """How different the pictures of each pair are."""

    @override
    def score(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Mapping[str, float]]:
        found = {frame: np.asarray(clip.read(frame)) for item in items for frame in item.frames}
        pairs = [(found[item.frames[0]], found[item.frames[-1]]) for item in items]
        return [{self.measure: value} for value in self.apart(pairs)]


class PixelDifference(Different):
    """By the colours of both pictures. Score `pixel_difference`, in [0, 1].

    Args:
        least: Below, the pictures are nearly equal.
        most: Above, they have too little in common.
    """

    def __init__(self, least: float = 0.004, most: float = 0.25) -> None:
        super().__init__("pixel_difference", least, most)

    @override
    def apart(self, pairs: Sequence[tuple[Pixels, Pixels]]) -> list[float]:
        return PixelDistance()(pairs)


class FeatureDifference(Different):
    """By the features of DINOv2 or CLIP: P4, section 9.4.2, takes both.

    Scores `dino_difference`, `clip_difference`: 1 - cosine, in [0, 2].

    Args:
        features: Whose.
        folder: Of the model, in the transformers layout.
        least: Below, the pictures are nearly equal.
        most: Above, they have too little in common.
        resources: A worker holds the model.
    """

    elsewhere = ("resources",)

    def __init__(
        self,
        features: Literal["dino", "clip"],
        folder: str,
        least: float = 0.01,
        most: float = 0.5,
        resources: Resources = Resources(0.5, workers=1),  # noqa: B008  (frozen)
    ) -> None:
        super().__init__(f"{features}_difference", least, most)
        self.features, self.folder, self.resources = features, folder, resources

    @override
    def check(self) -> None:
        if not (Path(self.folder) / "config.json").is_file():
            raise CurationError(f"there is no model in {self.folder}", "name a folder in the transformers layout")

    @override
    def apart(self, pairs: Sequence[tuple[Pixels, Pixels]]) -> list[float]:
        return self._distance(pairs)

    @cached_property
    def _distance(self) -> EmbeddingDistance:
        from omnigen2.evaluation.metrics import Clip, DinoImages

        device = "cuda" if self.resources.gpus else "cpu"
        if self.features == "clip":
            return EmbeddingDistance(Clip(Path(self.folder)).to(device).eval().images)
        return EmbeddingDistance(DinoImages(Path(self.folder)).to(device).eval())
