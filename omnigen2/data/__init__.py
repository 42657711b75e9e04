"""Samples of every task, where they come from, and the batches they make.

Importing this needs torch, numpy, safetensors, Pillow and PyYAML; litdata is imported when chunks are opened.
"""

from omnigen2.data.batches import (
    Batch,
    Collate,
    ConditionDropout,
    Example,
    Mixture,
    Pick,
    Plan,
    Planner,
    Precomputed,
    Replica,
    TokenBudget,
)
from omnigen2.data.captions import has_captions
from omnigen2.data.check import Looked, check_budget, check_data
from omnigen2.data.chunks import ChunkWriter, StreamingSource
from omnigen2.data.folder import Folders, Opened, OpenFolder, has_chunks, open_data, open_folder
from omnigen2.data.inspect import contact_sheet, summarise
from omnigen2.data.jsonl import TASK_NAMES, BadRecords, JsonlSource, read_jsonl
from omnigen2.data.optimize import BAD_FILE, REPORT_FILE, Advance, OptimizeReport, OptimizeSettings, optimize
from omnigen2.data.samples import (
    TASKS,
    BadRecord,
    ByteLength,
    DataError,
    ImageEncoder,
    InstructionEncoder,
    LatentOrigin,
    ListSource,
    Loaded,
    Mismatch,
    Origins,
    PixelRange,
    Sample,
    SampleSizes,
    Source,
    StatesOrigin,
    Stored,
    StoredTensor,
    Task,
    TextLength,
    TokenizerLength,
)
from omnigen2.data.spec import SpecEntry, read_spec
from omnigen2.data.text_limit import TextLimit

__all__ = [
    "BAD_FILE", "REPORT_FILE", "TASKS", "TASK_NAMES", "Advance", "BadRecord", "BadRecords", "Batch", "ByteLength",
    "ChunkWriter", "Collate", "ConditionDropout", "DataError", "Example", "Folders", "ImageEncoder",
    "InstructionEncoder", "JsonlSource", "LatentOrigin", "ListSource", "Loaded", "Looked", "Mismatch", "Mixture",
    "OpenFolder", "Opened", "OptimizeReport", "OptimizeSettings", "Origins", "Pick", "PixelRange", "Plan", "Planner",
    "Precomputed", "Replica", "Sample", "SampleSizes", "Source", "SpecEntry", "StatesOrigin", "Stored", "StoredTensor",
    "StreamingSource", "Task", "TextLength", "TextLimit", "TokenBudget", "TokenizerLength", "check_budget",
    "check_data", "contact_sheet", "has_captions", "has_chunks", "open_data", "open_folder", "optimize", "read_jsonl",
    "read_spec", "summarise",
]  # fmt: skip
