"""Videos of the small world, drawn from a seed with their whole truth, and written as real files.

Writing files needs PyAV, of the extra `curation`; everything else is numpy and torch.
"""

from omnigen2.microworld.video.draw import draw_moment, draw_view
from omnigen2.microworld.video.edits import edits_between, true_edits
from omnigen2.microworld.video.footage import Camera, Change, ChangeKind, Cut, DrawnVideo, Footage, Moment, changes
from omnigen2.microworld.video.sampling import sample_video
from omnigen2.microworld.video.write import read_truth, write_video, write_videos

__all__ = [
    "Camera", "Change", "ChangeKind", "Cut", "DrawnVideo", "Footage", "Moment", "changes", "draw_moment", "draw_view",
    "edits_between", "read_truth", "sample_video", "true_edits", "write_video", "write_videos",
]  # fmt: skip
