"""Samples of every task, where they come from, and the batches they make.

Importing this needs torch, numpy, safetensors, Pillow and PyYAML; litdata is imported when chunks are opened.
"""

from omnigen2.data.budget import TokenBudget
from omnigen2.data.collate import Batch, Collate, Example, Precomputed
from omnigen2.data.dropout import ConditionDropout
from omnigen2.data.errors import BadRecord, DataError
from omnigen2.data.folder import Opened, open_data
from omnigen2.data.jsonl import JsonlSource, read_jsonl
from omnigen2.data.latents import ExampleLatents, ImageEncoder, LatentMismatch, LatentOrigin, SampleLatents
from omnigen2.data.mixture import Mixture, Replica
from omnigen2.data.optimize import OptimizeReport, OptimizeSettings, optimize
from omnigen2.data.origins import Origins
from omnigen2.data.planner import Pick, Planner
from omnigen2.data.sample import TASKS, Sample, SampleSizes, Task
from omnigen2.data.source import ListSource, PixelRange, Source
from omnigen2.data.spec import SpecEntry, read_spec
from omnigen2.data.states import ExampleStates, InstructionEncoder, SampleStates, StatesMismatch, StatesOrigin
from omnigen2.data.stored import StoredTensor
from omnigen2.data.streaming import StreamingSource
from omnigen2.data.text import ByteLength, TextLength, TokenizerLength
from omnigen2.data.writer import ChunkWriter

__all__ = [
    "TASKS",
    "BadRecord",
    "Batch",
    "ByteLength",
    "ChunkWriter",
    "Collate",
    "ConditionDropout",
    "DataError",
    "Example",
    "ExampleLatents",
    "ExampleStates",
    "ImageEncoder",
    "InstructionEncoder",
    "JsonlSource",
    "LatentMismatch",
    "LatentOrigin",
    "ListSource",
    "Mixture",
    "Opened",
    "OptimizeReport",
    "OptimizeSettings",
    "Pick",
    "PixelRange",
    "Origins",
    "Planner",
    "Precomputed",
    "Replica",
    "Sample",
    "SampleLatents",
    "SampleSizes",
    "SampleStates",
    "Source",
    "SpecEntry",
    "StatesMismatch",
    "StatesOrigin",
    "StoredTensor",
    "StreamingSource",
    "Task",
    "TextLength",
    "TokenBudget",
    "TokenizerLength",
    "open_data",
    "optimize",
    "read_jsonl",
    "read_spec",
]
