"""Steps that recipes name: videos to scenes, scenes to pairs, filters, words; and parts of the report."""

from omnigen2.curation.steps.cuts import Cuts
from omnigen2.curation.steps.duplicates import Duplicates
from omnigen2.curation.steps.ids import NoIds, leaked_ids
from omnigen2.curation.steps.pairs import Different, FeatureDifference, FramePairs, PixelDifference, SameView
from omnigen2.curation.steps.words import WriteInstruction, read_answer

__all__ = [
    "Cuts", "Different", "Duplicates", "FeatureDifference", "FramePairs", "NoIds", "PixelDifference", "SameView",
    "WriteInstruction", "leaked_ids", "read_answer",
]  # fmt: skip
