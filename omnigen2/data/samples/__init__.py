"""What a training example is, how large it is, where it comes from, and what may be computed of it beforehand."""

from omnigen2.data.samples.columns import Envelope, SizeColumns
from omnigen2.data.samples.errors import BadRecord, DataError, LostChunk, skipping
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
from omnigen2.data.samples.pixel_range import PixelRange, check_range
from omnigen2.data.samples.sample import TASKS, ImageFile, Sample, SampleSizes, Size, Task, measure, stated_sizes
from omnigen2.data.samples.source import BLOCK, Chunks, ListSource, Source
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
    "BLOCK", "NAMES", "NUMBER_TYPES", "TASKS", "BadRecord", "ByteLength", "Chunks", "DataError", "Envelope",
    "ImageEncoder", "ImageFile", "InstructionEncoder", "LatentOrigin", "LatentType", "ListSource", "Loaded",
    "LostChunk", "Mismatch", "NumberType", "Origin", "Origins", "PixelRange", "Pixels", "Sample", "SampleEncoder",
    "SampleSizes", "Size", "SizeColumns", "Source", "States", "StatesOrigin", "Stored", "StoredTensor", "Task",
    "TextLength", "TokenizerLength", "check_range", "measure", "skipping", "stated_sizes",
]  # fmt: skip
