"""What a run keeps in its folder, so that it can be stopped at any moment and go on to the same numbers."""

from omnigen2.runner.keep.folder import CONFIG, LOCK, REMEDY, STAGES, claim, locked, start_over
from omnigen2.runner.keep.handover import (
    OPTIMIZER,
    OPTIMIZER_ARGUMENT,
    WEIGHTS,
    HandsOver,
    WriteWeights,
    carry_on,
    fingerprint,
)
from omnigen2.runner.keep.lightning_private import (
    SeedsLater,
    attach,
    saves_folders,
    steps_between_checkpoints,
    trainer_of,
)
from omnigen2.runner.keep.metrics import CsvLogger, read_metrics
from omnigen2.runner.keep.processes import follow_the_first, is_first, started_together
from omnigen2.runner.keep.resume import ResumePoint, committed_checkpoint, roll_back
from omnigen2.runner.keep.state import of_all_processes, random_states, set_random_states
from omnigen2.runner.keep.stopping import SaveOnSignal
from omnigen2.runner.keep.summary import SUMMARY, count, first_table, summarize, versions, write_report

__all__ = [
    "CONFIG", "LOCK", "OPTIMIZER", "OPTIMIZER_ARGUMENT", "REMEDY", "STAGES", "SUMMARY", "WEIGHTS", "CsvLogger",
    "HandsOver", "ResumePoint", "SaveOnSignal", "SeedsLater", "WriteWeights", "attach", "carry_on", "claim",
    "committed_checkpoint", "count", "fingerprint", "first_table", "follow_the_first", "is_first", "locked",
    "of_all_processes", "random_states", "read_metrics", "roll_back", "saves_folders", "set_random_states",
    "start_over", "started_together", "steps_between_checkpoints", "summarize", "trainer_of", "versions",
    "write_report",
]  # fmt: skip
