"""Steps that recipes name: videos to scenes, scenes to pairs, filters, words; and parts of the report."""

from omnigen2.curation.steps.chat import ChatStep, Server, answer_schema, read_fields
from omnigen2.curation.steps.cuts import Cuts
from omnigen2.curation.steps.duplicates import Duplicates, HashPictures, Leaks
from omnigen2.curation.steps.ids import NoIds, leaked_ids
from omnigen2.curation.steps.interleaved import DescribeChanges, Sequences, told
from omnigen2.curation.steps.judges import JudgeKept, JudgeTracks
from omnigen2.curation.steps.kept import SubjectKept
from omnigen2.curation.steps.masks import box_of, keep_mask, read_mask
from omnigen2.curation.steps.names import NameSubjects
from omnigen2.curation.steps.opening import OpenPicture
from omnigen2.curation.steps.pairs import Different, FeatureDifference, FramePairs, PixelDifference, SameView
from omnigen2.curation.steps.repaint import EraseSubject, FillRegion, NewBackground, Repainting
from omnigen2.curation.steps.subjects import FindSubjects, KeyFrames, LastWhole, TrackSubjects, shared
from omnigen2.curation.steps.words import DescribeInContext, DescribeInContextEdit, Recaption, WriteInstruction

__all__ = [
    "ChatStep", "Cuts", "DescribeChanges", "DescribeInContext", "DescribeInContextEdit", "Different", "Duplicates",
    "EraseSubject", "FeatureDifference", "FillRegion", "FindSubjects", "FramePairs", "HashPictures", "JudgeKept",
    "JudgeTracks", "KeyFrames", "LastWhole", "Leaks", "NameSubjects", "NewBackground", "NoIds", "OpenPicture",
    "PixelDifference", "Recaption", "Repainting", "SameView", "Sequences", "Server", "SubjectKept", "TrackSubjects",
    "WriteInstruction", "answer_schema", "box_of", "keep_mask", "leaked_ids", "read_fields", "read_mask", "shared",
    "told",
]  # fmt: skip
