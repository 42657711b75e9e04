"""Prompts and pictures to pictures or words: what a user of a trained model calls.

from omnigen2.generate import Generator

generator = Generator.from_folder("OmniGen2")
generator("a red cube on a table", seed=0).pictures[0].save("cube.png")
"""

from omnigen2.encoders import Message
from omnigen2.generate.branches import EncodedSample, PackedBranches
from omnigen2.generate.denoise import Progress, denoise
from omnigen2.generate.encode import Encoders, Offload
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.folder import ModelFolder
from omnigen2.generate.generator import Generator
from omnigen2.generate.picture import Picture, Reply, Result, read_parameters
from omnigen2.generate.request import ImageInput, Request, Sampling, SamplingOptions, SolverName

__all__ = [
    "EncodedSample",
    "Encoders",
    "GenerateError",
    "Generator",
    "ImageInput",
    "Message",
    "ModelFolder",
    "Offload",
    "PackedBranches",
    "Picture",
    "Progress",
    "Reply",
    "Request",
    "Result",
    "Sampling",
    "SamplingOptions",
    "SolverName",
    "denoise",
    "read_parameters",
]
