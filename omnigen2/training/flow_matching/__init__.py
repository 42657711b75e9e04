"""Rectified-flow training of the transformer, and what all its trainings share: frozen encoders, data, drawing."""

from omnigen2.training.flow_matching.data_module import ImageData
from omnigen2.training.flow_matching.drawing import Drawing, PictureJudge
from omnigen2.training.flow_matching.encoded import BatchEncoder
from omnigen2.training.flow_matching.flow_model import FlowModel, SettingsError, TextPart
from omnigen2.training.flow_matching.module import FlowMatchingModule
from omnigen2.training.flow_matching.precompute import CodecLatents, VLMStates
from omnigen2.training.flow_matching.text_states import TextStates, TypicalTexts

__all__ = [
    "BatchEncoder", "CodecLatents", "Drawing", "FlowMatchingModule", "FlowModel", "ImageData", "PictureJudge",
    "SettingsError", "TextPart", "TextStates", "TypicalTexts", "VLMStates",
]  # fmt: skip
