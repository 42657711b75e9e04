"""TODO."""

from omnigen2.data.samples.errors import BadRecord, DataError
from omnigen2.data.samples.latents import (
    LATENT_TYPES,
    LATENTS_FILE,
    ExampleLatents,
    ImageEncoder,
    LatentMismatch,
    LatentOrigin,
    LatentType,
    Moments,
    Pixels,
    SampleLatents,
)
from omnigen2.data.samples.origins import Origins
from omnigen2.data.samples.sample import TASKS, ImageFile, Sample, SampleSizes, Size, Task, measure
from omnigen2.data.samples.source import ListSource, PixelRange, Source
from omnigen2.data.samples.states import (
    STATES_FILE,
    ExampleStates,
    InstructionEncoder,
    SampleStates,
    States,
    StatesMismatch,
    StatesOrigin,
)
from omnigen2.data.samples.stored import NAMES, NUMBER_TYPES, StoredTensor
from omnigen2.data.samples.text import ByteLength, TextLength, TokenizerLength

__all__ = [
    "LATENTS_FILE", "LATENT_TYPES", "NAMES", "NUMBER_TYPES", "STATES_FILE", "TASKS", "BadRecord", "ByteLength",
    "DataError", "ExampleLatents", "ExampleStates", "ImageEncoder", "ImageFile", "InstructionEncoder", "LatentMismatch",
    "LatentOrigin", "LatentType", "ListSource", "Moments", "Origins", "PixelRange", "Pixels", "Sample", "SampleLatents",
    "SampleSizes", "SampleStates", "Size", "Source", "States", "StatesMismatch", "StatesOrigin", "StoredTensor", "Task",
    "TextLength", "TokenizerLength", "measure",
]  # fmt: skip
