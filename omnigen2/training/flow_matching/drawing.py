"""How pictures are drawn while a model trains, and who looks at them: for sheets and for evaluations."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from omnigen2.data.batches import Example, Pixels
from omnigen2.generate import Sampling
from omnigen2.rl import Judgement


class PictureJudge(ABC):
    """Says whether a picture shows what was asked for."""

    @abstractmethod
    def judge(self, example: Example, picture: Pixels) -> Judgement:
        """Judge one picture in [-1, 1], shape (3, height, width), that was drawn for an example: 1 is without fault."""


@dataclass(frozen=True)
class Drawing:
    """How pictures are drawn during training.

    Attributes:
        sampling: Steps, guidance, solver.
        seed: Of the noise of the first picture; the others have those after it.
        shown: Pictures on a sheet: the first examples of the first validation batch.
        judge: Judges them; none if None.
    """

    sampling: Sampling = field(default_factory=Sampling)
    seed: int = 0
    shown: int = 8
    judge: PictureJudge | None = None

    def __post_init__(self) -> None:
        if self.shown < 1 or self.seed < 0:
            raise ValueError(f"Drawing needs shown >= 1 and seed >= 0, got {self.shown} and {self.seed}")
