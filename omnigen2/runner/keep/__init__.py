"""TODO."""

from omnigen2.runner.keep.folder import CONFIG, LOCK, REMEDY, STAGES, claim, emptied, locked
from omnigen2.runner.keep.handover import (
    OPTIMIZER,
    OPTIMIZER_ARGUMENT,
    WEIGHTS,
    HandsOver,
    WriteWeights,
    carry_on,
    fingerprint,
)
from omnigen2.runner.keep.metrics import CsvLogger, read_metrics
from omnigen2.runner.keep.processes import follow_the_first, is_first, started_together
from omnigen2.runner.keep.randomness import of_all_processes, random_states, set_random_states
from omnigen2.runner.keep.resume import ResumePoint, committed_checkpoint, roll_back
from omnigen2.runner.keep.stopping import SaveOnSignal
from omnigen2.runner.keep.summary import SUMMARY, first_table, summarize, versions, write_report

__all__ = [
    "CONFIG", "LOCK", "OPTIMIZER", "OPTIMIZER_ARGUMENT", "REMEDY", "STAGES", "SUMMARY", "WEIGHTS", "CsvLogger",
    "HandsOver", "ResumePoint", "SaveOnSignal", "WriteWeights", "carry_on", "claim", "committed_checkpoint", "emptied",
    "fingerprint", "first_table", "follow_the_first", "is_first", "locked", "of_all_processes", "random_states",
    "read_metrics", "roll_back", "set_random_states", "started_together", "summarize", "versions", "write_report",
]  # fmt: skip
