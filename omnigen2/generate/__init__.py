"""Prompts and pictures to pictures or words: what a user of a trained model calls.

from omnigen2.generate import Generator

generator = Generator.from_folder("OmniGen2")
generator("a red cube on a table", seed=0).pictures[0].save("cube.png")
"""

from omnigen2.encoders import Message
from omnigen2.generate.branches import BRANCHES, Branch, EncodedSample, PackedBranches, TextStates
from omnigen2.generate.denoise import Progress, denoise
from omnigen2.generate.encode import Encoders, Offload
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.export import check_adapters, export_adapter, export_model
from omnigen2.generate.folder import ModelFolder, scheduler_config, shift_text
from omnigen2.generate.generator import Generator
from omnigen2.generate.jobs import Job, batches, check_jobs, jobs_of_file, jobs_of_prompt
from omnigen2.generate.memory import Estimate, estimate, planner_of
from omnigen2.generate.notices import NoEffectWarning, notices
from omnigen2.generate.picture import Picture, Reply, Result, check_picture_name, read_parameters
from omnigen2.generate.request import MOST_SIDE, ImageInput, Request, Sampling, SamplingOptions, SolverName
from omnigen2.generate.tiny import INDEX, SCHEDULER, make_tiny, randomize

__all__ = [
    "BRANCHES", "INDEX", "MOST_SIDE", "SCHEDULER", "Branch", "EncodedSample", "Encoders", "Estimate", "GenerateError",
    "Generator", "ImageInput", "Job", "Message", "ModelFolder", "NoEffectWarning", "Offload", "PackedBranches",
    "Picture", "Progress", "Reply", "Request", "Result", "Sampling", "SamplingOptions", "SolverName", "TextStates",
    "batches", "check_adapters", "check_jobs", "check_picture_name", "denoise", "estimate", "export_adapter",
    "export_model", "jobs_of_file", "jobs_of_prompt", "make_tiny", "notices", "planner_of", "randomize",
    "read_parameters", "scheduler_config", "shift_text",
]  # fmt: skip
