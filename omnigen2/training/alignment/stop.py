"""Iterations that must teach nothing: why the run stops there, and how it stops without losing anything."""

from collections.abc import Iterable

from lightning.pytorch import Callback, Trainer

from omnigen2.runner.keep import ResumePoint
from omnigen2.training.alignment.guards import RewardGuard
from omnigen2.training.alignment.metrics import IterationReport
from omnigen2.training.alignment.together import stop_all_processes


def reason_to_stop(report: IterationReport, retries: int, callbacks: Iterable[Callback]) -> str | None:
    """Why nothing may be learned from an iteration; every guard among the callbacks is asked.

    Args:
        report: Of the iteration.
        retries: How often pictures were sent again that no server had scored.
        callbacks: Of the run.

    Returns:
        None if there is no reason; else the first, with what to do.
    """
    if (outage := report.scored.outage) is not None:
        return (
            f"pictures of iteration {report.iteration} were not scored ({outage}), after {retries} more rounds of "
            "asking\n  start the reward servers again"
        )
    reasons = [callback.verdict(report) for callback in callbacks if isinstance(callback, RewardGuard)]
    return next((reason for reason in reasons if reason is not None), None)


class StopOnceSaved:
    """Ends a run with a reason, once its `ResumePoint` has saved the state before the iteration that gave it."""

    def __init__(self) -> None:
        self._reason: str | None = None

    def ask(self, trainer: Trainer, reason: str) -> None:
        """Ask for a checkpoint of this state, and for a stop after it.

        Args:
            trainer: Of the run.
            reason: Why.

        Raises:
            UserError: If there is no `ResumePoint`; the first process alone says so, the others end with its status.
        """
        points = _points(trainer)
        if not points:
            stop_all_processes(f"{reason}\n  nothing was saved: the run has no ResumePoint")
        self._reason = reason
        points[0].ask()

    def stop_if_saved(self, trainer: Trainer, iteration: int) -> None:
        """Stop if that was asked for and the checkpoint is there.

        Args:
            trainer: Of the run.
            iteration: How many iterations are finished.

        Raises:
            UserError: With the reason; the first process alone says so, the others end with its status.
        """
        if self._reason is not None and _points(trainer)[0].answered(trainer):
            stop_all_processes(f"{self._reason}; the same command goes on from iteration {iteration}")


def _points(trainer: Trainer) -> list[ResumePoint]:
    return [point for point in trainer.checkpoint_callbacks if isinstance(point, ResumePoint)]
