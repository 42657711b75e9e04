"""What a training example is, how large it is, where it comes from, and what may be computed of it beforehand."""

from omnigen2.data.samples.errors import BadRecord, DataError, skipping
from omnigen2.data.samples.kinds import (
    ImageEncoder,
    InstructionEncoder,
    LatentOrigin,
    LatentType,
    Origins,
    Pixels,
    States,
    StatesOrigin,
)
from omnigen2.data.samples.sample import TASKS, ImageFile, Sample, SampleSizes, Size, Task, measure, stated_sizes
from omnigen2.data.samples.source import ListSource, PixelRange, Source
from omnigen2.data.samples.stored import (
    NAMES,
    NUMBER_TYPES,
    Loaded,
    Mismatch,
    NumberType,
    Origin,
    SampleEncoder,
    Stored,
    StoredTensor,
)
from omnigen2.data.samples.text import ByteLength, TextLength, TokenizerLength

__all__ = [
    "NAMES", "NUMBER_TYPES", "TASKS", "BadRecord", "ByteLength", "DataError", "ImageEncoder", "ImageFile",
    "InstructionEncoder", "LatentOrigin", "LatentType", "ListSource", "Loaded", "Mismatch", "NumberType", "Origin",
    "Origins", "PixelRange", "Pixels", "Sample", "SampleEncoder", "SampleSizes", "Size", "Source", "States",
    "StatesOrigin", "Stored", "StoredTensor", "Task", "TextLength", "TokenizerLength", "measure", "skipping",
    "stated_sizes",
]  # fmt: skip
