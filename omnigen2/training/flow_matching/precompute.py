"""What trainings compute of samples again and again, computed once: latents of pictures, states of instructions."""

from collections.abc import Sequence
from threading import Lock

from typing_extensions import override

from omnigen2.data.samples import (
    DataError,
    ImageEncoder,
    InstructionEncoder,
    LatentOrigin,
    LatentType,
    Pixels,
    States,
)
from omnigen2.encoders import LatentCodec, Moments
from omnigen2.pictures import ResizePolicy
from omnigen2.training.flow_matching.text_states import TextStates


class CodecLatents(ImageEncoder):
    """Latents of a codec: mean and standard deviation, so that a training can draw from them.

    Args:
        codec: Where it is, it works; one image at a time, while other threads wait: more need not fit the memory.
        resize: The sizes that images get.
        stored_as: How numbers are stored.
    """

    def __init__(self, codec: LatentCodec, resize: ResizePolicy, stored_as: LatentType) -> None:
        self.codec = codec
        self.origin = LatentOrigin(codec.identity(), resize, stored_as)
        self._lock = Lock()

    @override
    def compute(self, given: Sequence[Pixels]) -> list[Moments]:
        with self._lock:
            return self.codec.moments(given)


class VLMStates(InstructionEncoder):
    """Text states of a vision-language model, as a training reads them.

    Args:
        reader: Of the training. It reads one instruction at a time, so that no other text changes its states.

    Raises:
        DataError: If the model is shown the references: what it sees then depends on the batch.
    """

    def __init__(self, reader: TextStates) -> None:
        if reader.rules.sees != "text":
            raise DataError(
                "states cannot be stored of a model that is shown the references, since a training may drop them",
                "read texts alone (`rules: {sees: text}`)",
            )
        self.reader = reader
        self.origin = reader.origin()
        self._lock = Lock()

    @override
    def compute(self, given: str) -> list[States]:
        with self._lock:
            return [self.reader.of_texts([given]).states]
