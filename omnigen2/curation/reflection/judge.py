"""Who looks at pictures: what is wrong with one, and what is to be changed."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from omnigen2.curation import CurationError
from omnigen2.curation.reflection.prompts import Prompt
from omnigen2.pictures import Picture


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture in [-1, 1], and what it was drawn of."""

    prompt: Prompt
    picture: Picture


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says of a picture; it is right if there are no problems.

    Attributes:
        score: Higher is better; it is compared with those of other pictures of the same prompt.
        problems: What is missing or wrong.
        changes: How that is mended.
        edit: What an editing model is told to do with the picture, to mend all of it or one thing after another.
        praise: What is said of a picture that is right.

    Raises:
        CurationError: If a right picture is to be changed, or there is nothing to be done about a wrong one.
    """

    score: float
    problems: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    edit: str = ""
    praise: str = "The picture shows everything that was asked for."

    def __post_init__(self) -> None:
        asked = (bool(self.changes), bool(self.edit.strip()))
        if asked != (bool(self.problems),) * 2 or not all(map(str.strip, (*self.problems, *self.changes, self.praise))):
            raise CurationError(
                f"a verdict has the problems {self.problems}, the changes {self.changes} and the edit {self.edit!r}",
                "give all three with words in them, or none",
            )

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def rank(self) -> tuple[bool, float]:
        """By which pictures of one prompt are compared: a right one is better than all that are not."""
        return self.right, self.score

    @property
    def answer(self) -> str:
        """What a model learns to say of the picture: problems, then changes, each on its line; or the praise."""
        return self.praise if self.right else "\n".join((*self.problems, *self.changes))


@dataclass(frozen=True, slots=True)
class Unjudged:
    """Why there is no verdict.

    Attributes:
        reason: The same for all of a kind.
        transient: It says nothing about the picture, which is judged again by the same command.
    """

    reason: str
    detail: str = ""
    transient: bool = False


class ReflectionJudge(ABC):
    """Says of pictures whether they are what was asked for.

    Attributes:
        by: What records call it, with all that decides what it says.
    """

    by: str

    def check(self, prompts: Sequence[Prompt]) -> None:
        """Find out before anything is drawn whether it can judge pictures of these prompts.

        Raises:
            UserError: If it cannot.
        """
        del prompts

    @abstractmethod
    def judge(self, shown: Sequence[Shown]) -> Sequence[Verdict | Unjudged]:
        """What it says of each picture, in their order."""
