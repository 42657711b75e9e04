"""From picked samples to a batch of pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias, assert_never

import torch
from PIL import Image

from omnigen2.data.batches.budget import TokenBudget
from omnigen2.data.batches.dropout import ConditionDropout
from omnigen2.data.batches.stream import Pick
from omnigen2.data.samples import (
    DataError,
    ImageFile,
    LatentOrigin,
    Loaded,
    LostChunk,
    Mismatch,
    Pixels,
    Sample,
    Source,
    StatesOrigin,
    Task,
    skipping,
)
from omnigen2.layout import ImageSegment, Layout
from omnigen2.pictures import ImageFileError, ImageReader, ResizePolicy, to_pixels

BrokenSamples: TypeAlias = Literal["refuse", "skip"]
Precomputed: TypeAlias = Literal["use", "ignore"]


@dataclass(frozen=True)
class Example:
    """One sample, decoded, resized, and without the conditions that were dropped.

    Attributes:
        task: What is asked.
        source: Where it comes from.
        key: Names it in messages.
        instruction: Empty if the prompt was dropped.
        prompt_dropped: Whether it was: the released weights have another system prompt then.
        references: Float32, sides are multiples of the resize policy's; empty if they were dropped.
        target: Float32, likewise; None if there is none.
        answer: The words to answer with; None if there are none.
        meta: As in the sample.
        latents: Of the references and the target, if they were computed before and are to be used.
        states: Of the instruction, likewise.
    """

    task: Task
    source: str
    key: str
    instruction: str
    prompt_dropped: bool
    references: tuple[Pixels, ...]
    target: Pixels | None
    answer: str | None
    meta: str
    latents: Loaded[LatentOrigin] | None = None
    states: Loaded[StatesOrigin] | None = None

    def segments(self, multiple: int) -> tuple[ImageSegment, ...]:
        """The images in tokens of side `multiple` in pixels: references, then the target if there is one."""
        images = [ImageSegment(p.shape[1] // multiple, p.shape[2] // multiple, "reference") for p in self.references]
        if self.target is not None:
            images.append(ImageSegment(self.target.shape[1] // multiple, self.target.shape[2] // multiple, "target"))
        return tuple(images)


@dataclass(frozen=True)
class Batch:
    """What one rank trains on in one step.

    Attributes:
        examples: At least one, in what a `Mixture` yields.
        budget: What the batch was packed for.
        broken: What is wrong with samples that could not be decoded and were skipped.
    """

    examples: tuple[Example, ...]
    budget: TokenBudget
    broken: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.examples)

    @property
    def instructions(self) -> tuple[str, ...]:
        """One per example."""
        return tuple(example.instruction for example in self.examples)

    @property
    def references(self) -> tuple[Pixels, ...]:
        """All references, example by example: the order of `Layout.images("reference")`."""
        return tuple(image for example in self.examples for image in example.references)

    @property
    def targets(self) -> tuple[Pixels, ...]:
        """All targets: the order of `Layout.images("target")`."""
        return tuple(example.target for example in self.examples if example.target is not None)

    def layout(self, text_tokens: Sequence[int]) -> Layout:
        """The plan of the batch: text, references and target of each example.

        Args:
            text_tokens: Of each example, such as `HiddenStateBridge.borders(roles).lengths`.
        """
        multiple = self.budget.resize.multiple
        return self.budget.layout(text_tokens, [example.segments(multiple) for example in self.examples])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The batch with its pixels, latents and text states on a device."""
        moved = [
            replace(
                example,
                references=tuple(image.to(device, non_blocking=non_blocking) for image in example.references),
                target=None if example.target is None else example.target.to(device, non_blocking=non_blocking),
                latents=None if example.latents is None else example.latents.to(device, non_blocking),
                states=None if example.states is None else example.states.to(device, non_blocking),
            )
            for example in self.examples
        ]
        return replace(self, examples=tuple(moved))


@dataclass(frozen=True)
class Collate:
    """Reads picked samples, drops conditions, decodes and resizes.

    Attributes:
        dropout: Which conditions are dropped; none if None.
        reader: Decodes images.
        broken: What happens to a sample that cannot be read or decoded: `"refuse"` raises and names it, `"skip"`
            leaves it out of its batch and says so in `Batch.broken`. Nothing takes its place, so a batch may be left
            without examples.
        precomputed: Whether latents and text states that samples bring are used, or left out so that pixels are
            encoded and instructions read anew.
    """

    dropout: ConditionDropout | None = None
    reader: ImageReader = field(default_factory=ImageReader)
    broken: BrokenSamples = "refuse"
    precomputed: Precomputed = "use"

    def __call__(self, picks: Sequence[Pick], sources: Mapping[str, Source], budget: TokenBudget) -> Batch:
        """Make a batch, examples in the order of the picks.

        Args:
            picks: Planned for this budget.
            sources: By name.
            budget: What the batch may hold; its resize policy is used.

        Returns:
            A batch without examples if all samples are broken and left out.

        Raises:
            DataError: If a sample is broken and is to be refused.
            LostChunk: If a whole chunk cannot be read.
            Mismatch: If latents are to be used, but belong to images of other sizes.
        """
        examples: list[Example] = []
        broken: list[str] = []
        for pick in picks:
            name = f"sample {pick.number} of source {pick.source}"
            try:
                sample = sources[pick.source][pick.number]
                name = f"{name} ({sample.key})"
                examples.append(self._example(pick, sample, budget))
            except (LostChunk, Mismatch):
                raise
            except (ImageFileError, DataError) as error:
                match self.broken:
                    case "refuse":
                        problem = f"{name}: {error.message}"
                        raise DataError(
                            problem, error.remedy or "mend it", error.arguments | skipping("broken")
                        ) from error
                    case "skip":
                        broken.append(f"{name}: {error}")
                    case _:
                        assert_never(self.broken)
        return Batch(tuple(examples), budget, tuple(broken))

    def _example(self, pick: Pick, sample: Sample, budget: TokenBudget) -> Example:
        droppable = self.dropout is not None and sample.target is not None
        prompt, without_references = self.dropout(pick) if self.dropout is not None and droppable else (False, False)
        references, target = resized(sample, budget.resize, self.reader, with_references=not without_references)
        match self.precomputed:
            case "ignore":
                latents = states = None
            case "use":
                latents, states = _latents(sample, len(references), budget.resize), _states(sample, prompt)
            case _:
                assert_never(self.precomputed)
        return Example(
            task=sample.task,
            source=pick.source,
            key=sample.key,
            instruction="" if prompt else sample.instruction,
            prompt_dropped=prompt,
            references=references,
            target=target,
            answer=sample.answer,
            meta=sample.meta,
            latents=latents,
            states=states,
        )


def _latents(sample: Sample, references: int, resize: ResizePolicy) -> Loaded[LatentOrigin] | None:
    if sample.latents is None:
        return None
    sample.latents.origin.check(sample.key, resize=resize)
    *before, target = (stored.tensor for stored in sample.latents.tensors)
    return Loaded((*before[:references], target), sample.latents.origin)


def _states(sample: Sample, prompt_dropped: bool) -> Loaded[StatesOrigin] | None:
    if sample.states is None:
        return None
    origin, (own,) = sample.states.origin, sample.states.tensors
    return Loaded(((origin.dropped if prompt_dropped else own).tensor,), origin)


def resized(
    sample: Sample, policy: ResizePolicy, reader: ImageReader, with_references: bool = True
) -> tuple[tuple[Pixels, ...], Pixels | None]:
    """Decode the images of a sample and give them their sizes.

    Returns:
        References (none if they are not wanted), and the target if there is one.
    """

    def read(image: ImageFile) -> Image.Image:
        return reader.read(image, f"of {sample.key}" if isinstance(image, bytes) else None)

    references = policy.resize_references([read(image) for image in sample.references if with_references])
    target = None if sample.target is None else to_pixels(policy.resize(read(sample.target)))
    return tuple(to_pixels(image) for image in references), target
