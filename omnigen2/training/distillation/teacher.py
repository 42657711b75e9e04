"""Who is learned from: a frozen transformer, and the guided velocity that people draw with."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from omnigen2.dit import DiffusionTransformer, Inputs, TransformerConfig, unpatchify
from omnigen2.flow import SampleIndex, VelocityModel
from omnigen2.generate import BRANCHES, EncodedSample, PackedBranches, Sampling, TextStates
from omnigen2.layout import unpack
from omnigen2.training.flow_matching import SettingsError

WHOLE_PATH = (0.0, 1.0)


@dataclass(frozen=True)
class Teacher:
    """What a recipe says about the teacher.

    Attributes:
        sampling: How pictures are drawn with it: its scales, and, where it is followed, its steps and solver.
        weights: A model folder with `transformer/`; that which the student starts from if None.

    Raises:
        SettingsError: If only some of its steps would be guided, or it would shift time by itself.
    """

    sampling: Sampling = field(default_factory=Sampling)
    weights: str | None = None

    def __post_init__(self) -> None:
        if self.sampling.guidance_interval != WHOLE_PATH:
            raise SettingsError(
                f"teacher.sampling.guidance_interval is {self.sampling.guidance_interval}, and a teacher guides "
                "everywhere",
                "leave it out",
            )
        if self.sampling.cache != "none" or self.sampling.guidance_every != 1:
            raise SettingsError(
                "teacher.sampling reuses steps, and a teacher computes each", "leave cache and guidance_every out"
            )
        if self.sampling.time_shift is not None:
            raise SettingsError(
                "teacher.sampling has a time_shift, and a teacher visits times between those of the student",
                "leave it out; student.time_shift is that of both",
            )

    def branches(self, references: bool) -> int:
        """How many branches an evaluation of the guided velocity has."""
        guidance = self.sampling.guidance(references)
        return 1 if guidance is None else guidance.num_branches

    def velocity(
        self,
        transformer: DiffusionTransformer,
        samples: Sequence[EncodedSample],
        sample_index: SampleIndex,
        companion: bool = False,
    ) -> VelocityModel:
        """The guided velocity of a batch: one packed call for all branches.

        Args:
            transformer: The frozen one.
            samples: The batch.
            sample_index: The sample of each target token.
            companion: Whether other processes train along; see `PackedBranches`.
        """
        guidance = self.sampling.guidance(any(sample.references for sample in samples))
        count = 1 if guidance is None else guidance.num_branches
        branches = PackedBranches(transformer, tuple(samples), BRANCHES[count], companion=companion)
        return branches if guidance is None else guidance(branches, sample_index)


def samples_of(inputs: Inputs, negative: TextStates, config: TransformerConfig) -> list[EncodedSample]:
    """An encoded batch as what pictures are drawn from; their noise is a placeholder of the right shape.

    Args:
        inputs: From `BatchEncoder`.
        negative: States of the empty prompt, shape (tokens, text_dim).
        config: Of the transformer.
    """
    layout, side = inputs.layout, config.patch_size
    texts = unpack(inputs.text, layout.per_sample("text"))
    patches = () if inputs.references is None else unpack(inputs.references, layout.segments("reference"))
    given = (unpatchify(own, image, side) for own, image in zip(patches, layout.images("reference"), strict=True))
    found: list[EncodedSample] = []
    for text, parts, target in zip(texts, layout.batch, layout.images("target"), strict=True):
        references = tuple(next(given) for part in parts if part.kind == "reference")
        shape = (config.in_channels, target.height * side, target.width * side)
        found.append(EncodedSample(text, negative, references, torch.zeros(1, 1, 1).expand(shape)))
    return found
