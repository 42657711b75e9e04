"""Carries out what was planned: one run here, or many wherever there is place, shown while they run."""

from omnigen2.runner.execute.check import check
from omnigen2.runner.execute.elsewhere import Elsewhere, elsewhere_for
from omnigen2.runner.execute.execute import execute
from omnigen2.runner.execute.run import Output, quiet, run

__all__ = ["Elsewhere", "Output", "check", "elsewhere_for", "execute", "quiet", "run"]
