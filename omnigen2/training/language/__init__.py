"""TODO."""

from omnigen2.training.language.exchange_data import ExchangeData, SampleStream, StoredSamples
from omnigen2.training.language.image_token import ImageTokenModule
from omnigen2.training.language.understanding import UnderstandingModule

__all__ = ["ExchangeData", "ImageTokenModule", "SampleStream", "StoredSamples", "UnderstandingModule"]
