"""Prompts and pictures to pictures or words: what a user of a trained model calls.

from omnigen2.generate import Generator

generator = Generator.from_folder("OmniGen2")
generator("a red cube on a table", seed=0).pictures[0].save("cube.png")
"""

from omnigen2.encoders import Message
from omnigen2.generate.branches import BRANCHES, Branch, EncodedSample, PackedBranches, TextStates
from omnigen2.generate.calibration import (
    CALIBRATION_FILE,
    CALIBRATION_PROMPTS,
    Calibration,
    calibrate,
    check_enough,
    read_calibration,
    write_calibration,
)
from omnigen2.generate.denoise import Progress, denoise
from omnigen2.generate.encode import Encoders, Texts
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.export import check_adapters, export_adapter, export_model
from omnigen2.generate.folder import (
    ModelFolder,
    said_sampling,
    sampling_config,
    say_sampling,
    scheduler_config,
    shift_text,
)
from omnigen2.generate.generator import Generator
from omnigen2.generate.jobs import (
    BestOf,
    Chooser,
    Job,
    Judged,
    NoVerdict,
    Verdict,
    batches,
    best_of,
    check_jobs,
    choose,
    jobs_of_file,
    jobs_of_prompt,
)
from omnigen2.generate.made import Sizes, make_full
from omnigen2.generate.memory import (
    Estimate,
    Offload,
    Placement,
    Resting,
    RoomError,
    Way,
    check_room,
    default_dtype,
    estimate,
)
from omnigen2.generate.models import Models
from omnigen2.generate.notices import NoEffectWarning, notices
from omnigen2.generate.picture import Choice, Picture, Reply, Result, check_picture_name, number_format, read_parameters
from omnigen2.generate.plan import planner_of
from omnigen2.generate.request import MOST_IMAGES, MOST_SIDE, ImageInput, Request, Sampling, SamplingOptions, SolverName
from omnigen2.generate.tiny import INDEX, SCHEDULER, make_tiny, randomize

__all__ = [
    "BRANCHES", "CALIBRATION_FILE", "CALIBRATION_PROMPTS", "INDEX", "MOST_IMAGES", "MOST_SIDE", "SCHEDULER", "BestOf",
    "Branch", "Calibration", "Choice", "Chooser", "EncodedSample", "Encoders", "Estimate", "GenerateError",
    "Generator", "ImageInput", "Job", "Judged", "Message", "ModelFolder", "Models", "NoEffectWarning", "NoVerdict",
    "Offload", "PackedBranches", "Picture", "Progress", "Reply", "Request", "Resting", "Result", "RoomError",
    "Sampling", "SamplingOptions", "Sizes", "SolverName", "TextStates", "Texts", "Verdict", "Way", "batches",
    "best_of", "calibrate", "check_adapters", "check_enough", "check_jobs", "check_picture_name", "check_room",
    "choose", "default_dtype", "denoise", "estimate", "export_adapter", "export_model", "jobs_of_file",
    "jobs_of_prompt", "make_full", "make_tiny", "notices", "number_format", "planner_of", "randomize",
    "read_calibration", "read_parameters", "said_sampling", "sampling_config", "say_sampling", "scheduler_config",
    "shift_text", "write_calibration", "Placement",
]  # fmt: skip
