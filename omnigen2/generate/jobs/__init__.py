"""Many pictures, each with its file: one prompt several times, a file of prompts, the best of several."""

from omnigen2.generate.jobs.best import BestOf, Chooser, Judged, NoVerdict, Verdict, best_of, choose
from omnigen2.generate.jobs.job import Job, batches, check_jobs, jobs_of_prompt
from omnigen2.generate.jobs.lines import jobs_of_file

__all__ = [
    "BestOf", "Chooser", "Job", "Judged", "NoVerdict", "Verdict", "batches", "best_of", "check_jobs", "choose",
    "jobs_of_file", "jobs_of_prompt",
]  # fmt: skip
