"""Videos of the small world, drawn from a seed with their whole truth, and written as real files.

Writing files needs PyAV, of the extra `curation`; everything else is numpy and torch.
"""

from omnigen2.microworld.video.contexts import View, contexts_of, view_of
from omnigen2.microworld.video.draw import draw_moment, draw_view
from omnigen2.microworld.video.edits import edits_between, true_edits
from omnigen2.microworld.video.footage import (
    Camera,
    Change,
    ChangeKind,
    Cut,
    DrawnVideo,
    Footage,
    Moment,
    VocabularyName,
    changes,
    vocabulary_named,
)
from omnigen2.microworld.video.sampling import sample_video
from omnigen2.microworld.video.write import read_truth, write_video, write_videos

__all__ = [
    "Camera", "Change", "ChangeKind", "Cut", "DrawnVideo", "Footage", "Moment", "View", "VocabularyName", "changes",
    "contexts_of", "draw_moment", "draw_view", "edits_between", "read_truth", "sample_video", "true_edits",
    "view_of", "vocabulary_named", "write_video", "write_videos",
]  # fmt: skip
