"""The two kinds of numbers that are stored beside images and words: latents of pictures, and states of texts."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

from jaxtyping import Float
from safetensors import safe_open
from torch import Tensor
from typing_extensions import override

from omnigen2.data.samples.errors import DataError
from omnigen2.data.samples.stored import NAMES, NumberType, Origin, SampleEncoder, StoredTensor
from omnigen2.files import read_object, save_tensors, write_json
from omnigen2.pictures import ResizePolicy

LATENTS_FORMAT, STATES_FORMAT = "omnigen2 latents 1", "omnigen2 states 1"
LatentType: TypeAlias = Literal["float16", "float32"]
LATENT_TYPES: tuple[LatentType, ...] = get_args(LatentType)
Pixels: TypeAlias = Float[Tensor, "3 _ _"]
"""One image in [-1, 1], shape (3, height, width)."""
States: TypeAlias = Float[Tensor, "_ _"]
"""States of one text, shape (tokens, dim)."""


@dataclass(frozen=True)
class LatentOrigin(Origin):
    """What made latents: for each image of a sample, references then target, its codec's distribution.

    A tensor has the shape (1 or 2, channels, height, width): the mean and, where the codec has one, the standard
    deviation.

    Attributes:
        codec: Kind, configuration and weights of the codec, as one line.
        resize: The sizes that images got.
        stored_as: How numbers are stored.
    """

    kind = "latents"
    file = "latents.json"

    codec: str
    resize: ResizePolicy
    stored_as: LatentType

    def __str__(self) -> str:
        return f"{self.stored_as}, made by {self.codec}, of images resized by {self.resize}"

    @property
    @override
    def number_type(self) -> NumberType:
        return self.stored_as

    @property
    @override
    def shape(self) -> str:
        return "(1 or 2 moments, channels, height, width)"

    @override
    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 4 and shape[0] in (1, 2)

    @override
    def save(self, folder: Path) -> None:
        write_json(folder / self.file, {"format": LATENTS_FORMAT, **asdict(self)})

    @classmethod
    @override
    def read(cls, file: Path) -> "LatentOrigin":
        content = read_object(file, DataError, "copy it anew or write the chunks again")
        content.only("format", *(field.name for field in fields(cls)))
        content.choice("format", LATENTS_FORMAT)
        stored_as = cast(LatentType, content.choice("stored_as", *LATENT_TYPES))
        resize = content.object("resize")
        resize.only(*(field.name for field in fields(ResizePolicy)))
        policy = ResizePolicy(
            max_pixels=resize.whole("max_pixels", low=1),
            max_side=resize.whole("max_side", low=1) if resize.has("max_side") else None,
            multiple=resize.whole("multiple", low=1),
            reference_pixels=resize.wholes("reference_pixels", low=1),
        )
        return cls(content.text("codec"), policy, stored_as)


@dataclass(frozen=True)
class StatesOrigin(Origin):
    """What made text states: of the instruction of a sample, one tensor of shape (tokens, dim).

    Attributes:
        reader: Kind, type of numbers, configuration, tokenizer and weights of the model, as one line.
        prompts: How an instruction becomes a prompt, and which of its tokens are kept, as one line.
        dropped: The states that take the place of a sample's own where its prompt is dropped, shape (tokens, dim). As
            all others they are stored in the type that the model has, so that nothing is rounded.
    """

    kind = "text states"
    file = "states.safetensors"

    reader: str
    prompts: str
    dropped: StoredTensor = field(repr=False)

    def __str__(self) -> str:
        return f"{self.number_type}, made by {self.reader}, of prompts by {self.prompts}"

    @property
    @override
    def number_type(self) -> NumberType:
        return self.dropped.stored_as

    @property
    @override
    def shape(self) -> str:
        return f"(tokens, {self.dropped.shape[-1]})"

    @override
    def fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == 2 and shape[1:] == self.dropped.shape[1:]

    @override
    def save(self, folder: Path) -> None:
        facts = {"format": STATES_FORMAT, "reader": self.reader, "prompts": self.prompts}
        save_tensors({"dropped": self.dropped.tensor}, folder / self.file, facts)

    @classmethod
    @override
    def read(cls, file: Path) -> "StatesOrigin":
        with safe_open(file, "pt") as opened:
            facts = opened.metadata() or {}
            if facts.get("format") != STATES_FORMAT:
                raise DataError(f"{file} has the metadata {facts}, expected format {STATES_FORMAT!r}", "write it again")
            dropped = opened.get_tensor("dropped")
        return cls(facts["reader"], facts["prompts"], StoredTensor.of(dropped, NAMES[dropped.dtype]))


ImageEncoder: TypeAlias = SampleEncoder[Sequence[Pixels], LatentOrigin]
"""Takes the images of a sample, references then target, resized by `origin.resize`."""
InstructionEncoder: TypeAlias = SampleEncoder[str, StatesOrigin]
"""Takes an instruction that is not empty."""


@dataclass(frozen=True)
class Origins:
    """What all samples with a target bring that was computed before training; None for what they do not bring."""

    latents: LatentOrigin | None = None
    states: StatesOrigin | None = None

    def named(self) -> dict[str, Origin | None]:
        """Each of them by its kind."""
        return {LatentOrigin.kind: self.latents, StatesOrigin.kind: self.states}

    def save(self, folder: Path) -> None:
        """Write the accounts of what there is into a folder of chunks."""
        for origin in self.named().values():
            if origin is not None:
                origin.save(folder)

    @classmethod
    def load(cls, folder: Path) -> "Origins":
        """Read the accounts of a folder of chunks."""
        return cls(LatentOrigin.load(folder), StatesOrigin.load(folder))
