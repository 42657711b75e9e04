"""TODO."""

from omnigen2.runner.execute.run import Output, quiet, run
from omnigen2.runner.execute.stages_run import describe_stages, run_stages
from omnigen2.runner.execute.study_run import describe_study, run_study
from omnigen2.runner.keep import CONFIG, STAGES
from omnigen2.runner.recipe import building

__all__ = [
    "CONFIG", "STAGES", "Output", "building", "describe_stages", "describe_study", "quiet", "run", "run_stages",
    "run_study",
]  # fmt: skip
