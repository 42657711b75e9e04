"""Carries out what was planned: one run here, or many wherever there is place, shown while they run."""

from omnigen2.runner.execute.check import check
from omnigen2.runner.execute.execute import Elsewhere, execute
from omnigen2.runner.execute.executors import executor_for
from omnigen2.runner.execute.run import Output, quiet, run

__all__ = ["Elsewhere", "Output", "check", "execute", "executor_for", "quiet", "run"]
