"""Carries plans out: a run, stages one after the other, a study side by side; each goes on where it was stopped."""

from omnigen2.runner.execute.run import Output, quiet, run
from omnigen2.runner.execute.stages_run import run_stages
from omnigen2.runner.execute.study_run import run_study

__all__ = ["Output", "quiet", "run", "run_stages", "run_study"]
