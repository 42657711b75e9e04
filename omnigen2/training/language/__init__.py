"""The stages of the vision-language model: when to draw, and answers to questions."""

from omnigen2.training.language.exchange_data import ExchangeData, SampleStream, StoredSamples
from omnigen2.training.language.image_token import ImageTokenModule
from omnigen2.training.language.understanding import UnderstandingModule

__all__ = ["ExchangeData", "ImageTokenModule", "SampleStream", "StoredSamples", "UnderstandingModule"]
