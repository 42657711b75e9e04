"""Videos become frames with times in seconds, and scenes. Each part is usable alone; needs PyAV and PySceneDetect."""

from omnigen2.curation.video.reader import Cause, Fault, Frame, Frames, Pixels, Video
from omnigen2.curation.video.scenes import SIDE, SceneCuts, Span

__all__ = ["SIDE", "Cause", "Fault", "Frame", "Frames", "Pixels", "SceneCuts", "Span", "Video"]
