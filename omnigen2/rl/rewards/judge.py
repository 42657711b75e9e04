"""A judge: a vision-language model behind a chat server that grades pictures by rubrics."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from omnigen2.rl.reward import Failure, Picture, RewardError
from omnigen2.rl.rewards.grades import Grades, Rubric, read_grades
from omnigen2.rl.rewards.remote import ChatClient, ChatQuestion


class JudgeQuestion(NamedTuple):
    """What is to be graded by a rubric: texts and finite pictures in order. The number of the pass moves the seed."""

    rubric: Rubric
    content: tuple[str | Picture, ...]
    number: int = 0


class Judge:
    """Grades pictures by asking a chat server."""

    def __init__(self, client: ChatClient) -> None:
        self.client = client

    def ask(self, questions: Sequence[JudgeQuestion]) -> list[Grades | Failure]:
        """Ask all questions side by side: the grades of each, in order, or why there are none."""
        seed = self.client.settings.seed
        asked = [ChatQuestion(q.rubric.text, q.content, q.rubric.schema, seed + q.number) for q in questions]
        return [
            text if isinstance(text, Failure) else read_grades(text, question.rubric)
            for text, question in zip(self.client.ask(asked), questions, strict=True)
        ]

    def probe(self, rubric: Rubric) -> None:
        """Let the judge grade a grey picture, once, before anything depends on it.

        Raises:
            RewardError: If there is no answer, or none that can be read.
        """
        answer = self.ask([JudgeQuestion(rubric, ("Picture:", torch.zeros(3, 64, 64), "Instruction: draw."))])[0]
        if isinstance(answer, Failure):
            raise RewardError(
                f"the judge {self.client.model} gave no grades for a trial picture ({answer}); check that the server "
                "runs, knows the model and its key, and answers in the asked format (settings.answer_format)"
            )
