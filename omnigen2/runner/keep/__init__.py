"""What a run keeps in its folder, so that it can be stopped at any moment and go on to the same numbers."""

from omnigen2.runner.keep.folder import CONFIG, LOCK, REMEDY, check_apart, claim, locked, settings_of, start_over
from omnigen2.runner.keep.handover import (
    OPTIMIZER,
    OPTIMIZER_ARGUMENT,
    WEIGHTS,
    HandsOver,
    WriteWeights,
    fingerprint,
    from_its_weights,
)
from omnigen2.runner.keep.lightning_private import (
    SeedsLater,
    attach,
    saves_folders,
    set_position,
    steps_between_checkpoints,
    trainer_of,
)
from omnigen2.runner.keep.longer import SameSchedule, asks_for_more, differences
from omnigen2.runner.keep.metrics import CsvLogger, read_metrics
from omnigen2.runner.keep.optimizer_file import CarryError, carry_on, read_optimizer, save_optimizer
from omnigen2.runner.keep.pointer import check_strategy, check_whole, committed_checkpoint, roll_back
from omnigen2.runner.keep.processes import check_launch, follow_the_first, is_first, started_together
from omnigen2.runner.keep.resume import ResumePoint
from omnigen2.runner.keep.state import of_all_processes, random_states, set_random_states
from omnigen2.runner.keep.stopping import SaveOnSignal
from omnigen2.runner.keep.summary import (
    REPORTS,
    SUMMARY,
    ReportSection,
    count,
    first_table,
    read_summary,
    report_sections,
    summarize,
    versions,
    write_report,
)

__all__ = [
    "CONFIG", "LOCK", "OPTIMIZER", "OPTIMIZER_ARGUMENT", "REMEDY", "REPORTS", "SUMMARY", "WEIGHTS",
    "CarryError", "CsvLogger", "HandsOver", "ReportSection", "ResumePoint", "SameSchedule", "SaveOnSignal",
    "SeedsLater", "WriteWeights", "asks_for_more", "attach", "carry_on", "check_apart", "check_launch",
    "check_strategy", "check_whole", "claim", "committed_checkpoint", "count", "differences", "fingerprint",
    "first_table", "follow_the_first", "from_its_weights", "is_first", "locked", "of_all_processes", "random_states",
    "read_metrics", "read_optimizer", "read_summary", "report_sections", "roll_back", "save_optimizer",
    "saves_folders", "set_position", "set_random_states", "settings_of", "start_over", "started_together",
    "steps_between_checkpoints", "summarize", "trainer_of", "versions", "write_report",
]  # fmt: skip
