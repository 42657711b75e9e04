"""A judge: a vision-language model behind a chat server that grades pictures by rubrics."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from omnigen2.rl.reward import Failure, Picture, RewardError
from omnigen2.rl.rewards.grades import Grades, Rubric, read_grades
from omnigen2.rl.rewards.remote import AnswerFormat, ChatClient, ChatQuestion


@dataclass(frozen=True, slots=True)
class JudgeQuestion:
    """One picture to be graded.

    Attributes:
        rubric: By which.
        content: Texts and pictures in the order in which they are shown.
        number: Of the pass, from 0; it moves the seed.
    """

    rubric: Rubric
    content: tuple[str | Picture, ...]
    number: int = 0


@dataclass(frozen=True, slots=True)
class JudgeIdentity:
    """Who has judged and how: stored with every result, so that only like is compared with like.

    Attributes:
        model: Its name on the server. Where the server runs is not stored.
        prompts: Name and hash of each rubric.
        temperature: Of the sampling.
        max_tokens: Longest answer.
        seed: Of the first pass.
        passes: How often each picture was judged.
        image_side: Longest side of the pictures that it saw, in pixels; None if they were sent as they were.
        answer_format: How typed answers were asked for.
    """

    model: str
    prompts: tuple[str, ...]
    temperature: float
    max_tokens: int
    seed: int
    passes: int
    image_side: int | None
    answer_format: AnswerFormat

    def record(self) -> dict[str, Any]:
        """As plain values, for a result file."""
        return asdict(self)


class Judge:
    """Grades pictures by asking a chat server.

    Args:
        client: Which server, and how.
    """

    def __init__(self, client: ChatClient) -> None:
        self.client = client

    def ask(self, questions: Sequence[JudgeQuestion]) -> list[Grades | Failure]:
        """Ask all questions side by side.

        Args:
            questions: With finite pictures.

        Returns:
            For each question, in order, the grades or why there are none.
        """
        seed = self.client.settings.seed
        asked = [ChatQuestion(q.rubric.text, q.content, q.rubric.schema, seed + q.number) for q in questions]
        return [
            text if isinstance(text, Failure) else read_grades(text, question.rubric)
            for text, question in zip(self.client.ask(asked), questions, strict=True)
        ]

    def probe(self, rubric: Rubric) -> None:
        """Let the judge grade a grey picture, once, before anything depends on it.

        Args:
            rubric: By which.

        Raises:
            RewardError: If there is no answer, or none that can be read.
        """
        answer = self.ask([JudgeQuestion(rubric, ("Picture:", torch.zeros(3, 64, 64), "Instruction: draw."))])[0]
        if isinstance(answer, Failure):
            raise RewardError(
                f"the judge {self.client.model} gave no grades for a trial picture ({answer}); check that the server "
                "runs, knows the model and its key, and answers in the asked format (settings.answer_format)"
            )

    def identity(self, rubrics: Sequence[Rubric], passes: int = 1) -> JudgeIdentity:
        """Who judges and how.

        Args:
            rubrics: That are used.
            passes: How often each picture is judged.
        """
        settings = self.client.settings
        return JudgeIdentity(
            model=self.client.model,
            prompts=tuple(rubric.version for rubric in rubrics),
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            seed=settings.seed,
            passes=passes,
            image_side=self.client.image_side,
            answer_format=settings.answer_format,
        )
