"""Whether a subject is the same in a given picture, in the frame that it was made of, and in the target."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import UInt8
from typing_extensions import override

from omnigen2.curation import CurationError, Frame, Item, OpenClip, Resources, Scoring
from omnigen2.curation.models import Embedder, Mask, placed
from omnigen2.curation.pairs import EmbeddingDistance
from omnigen2.curation.steps.masks import box_of, read_mask, seen_mask
from omnigen2.curation.steps.repaint import WORKER
from omnigen2.curation.video import Pixels

GREY = 128


class SubjectKept(Scoring):
    """Drops items in whose given pictures the subject grew or changed, or whose target shows another one.

    P4, section 9.3.1, step 7, takes DINO. Scores are cosines in [-1, 1], of the worst subject: `subject_kept`, of what
    is in and around its mask before and after the background was painted; `subject_same`, of what its masks cut out of
    the first frame and the target. Neither limit is published.

    Args:
        embedder: Such as DINOv2.
        kept: Least of `subject_kept`.
        same: Least of `subject_same`.
        margin: What is around a mask, as a share of the longer side of its box.
        resources: A worker holds the model.
    """

    elsewhere = ("resources",)
    reasons = {
        "subject_kept.least": "the new background changed the subject",
        "subject_same.least": "the target shows another subject",
    }

    def __init__(
        self,
        embedder: Embedder,
        kept: float = 0.6,
        same: float = 0.5,
        margin: float = 0.1,
        resources: Resources = WORKER,
    ) -> None:
        self.embedder, self.kept, self.same, self.margin = placed(embedder, resources), kept, same, margin
        self.resources = resources

    @property
    @override
    def limits(self) -> Mapping[str, float]:
        return {"subject_kept.least": self.kept, "subject_same.least": self.same}

    @override
    def check(self) -> None:
        self.embedder.check()

    @cached_property
    def _distance(self) -> EmbeddingDistance:
        return EmbeddingDistance(self.embedder)

    @override
    def score(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Mapping[str, float]]:
        return [self._scores(item, clip) for item in items]

    def _scores(self, item: Item, clip: OpenClip) -> Mapping[str, float]:
        if "background" not in item.made:
            raise CurationError("there is no new background to look at", "put NewBackground before SubjectKept")
        base = np.asarray(clip.read(Frame(**item.made["background"]["base"])))
        target = np.asarray(clip.read(item.frames[-1]))
        kept: list[tuple[Pixels, Pixels]] = []
        same: list[tuple[Pixels, Pixels]] = []
        for subject in item.subjects:
            given = next(n for n, mask in enumerate(subject.masks) if read_mask(clip, mask).any())
            before, after = seen_mask(clip, subject, given), seen_mask(clip, subject, -1)
            left, top, right, bottom = box_of(before, self.margin)
            reference = np.asarray(clip.read(item.frames[given]))
            kept.append((base[top:bottom, left:right], reference[top:bottom, left:right]))
            same.append((_cut_out(base, before), _cut_out(target, after)))
        apart = self._distance([*kept, *same])
        return {
            "subject_kept": min(1 - value for value in apart[: len(kept)]),
            "subject_same": min(1 - value for value in apart[len(kept) :]),
        }


def _cut_out(picture: Pixels, mask: Mask) -> UInt8[np.ndarray, "rows columns 3"]:
    """What a mask is on, with grey around it."""
    left, top, right, bottom = box_of(mask)
    return np.where(mask[..., None], picture, GREY).astype(np.uint8)[top:bottom, left:right]
