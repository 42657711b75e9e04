"""TODO."""

from omnigen2.training.flow_matching.data_module import ImageData
from omnigen2.training.flow_matching.drawing import Drawing, PictureJudge, PictureVerdict, negative_states
from omnigen2.training.flow_matching.encoded import BatchEncoder
from omnigen2.training.flow_matching.flow_model import FlowModel, SettingsError, TextPart
from omnigen2.training.flow_matching.module import FlowMatchingModule
from omnigen2.training.flow_matching.text_states import TextStates, TypicalTexts

__all__ = [
    "BatchEncoder", "Drawing", "FlowMatchingModule", "FlowModel", "ImageData", "PictureJudge", "PictureVerdict",
    "SettingsError", "TextPart", "TextStates", "TypicalTexts", "negative_states",
]  # fmt: skip
