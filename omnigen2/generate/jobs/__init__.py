"""What there is to draw: one prompt several times, or a file of prompts, each picture with its file."""

from omnigen2.generate.jobs.job import Job, batches, check_jobs, jobs_of_prompt
from omnigen2.generate.jobs.lines import jobs_of_file

__all__ = ["Job", "batches", "check_jobs", "jobs_of_file", "jobs_of_prompt"]
