"""A judge: a vision-language model behind a chat server that grades pictures by rubrics."""

import re
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
        asked = [
            ChatQuestion(q.rubric.text, q.content, q.rubric.schema, None if seed is None else seed + q.number)
            for q in questions
        ]
        return [
            text if isinstance(text, Failure) else read_grades(text, question.rubric)
            for text, question in zip(self.client.ask(asked), questions, strict=True)
        ]

    def probe(self, rubric: Rubric) -> None:
        """Let the judge grade a grey picture, once, before anything depends on it.

        Raises:
            TrialError: If there is no answer, or none that can be read.
        """
        answer = self.ask([JudgeQuestion(rubric, ("Picture:", torch.zeros(3, 64, 64), "Instruction: draw."))])[0]
        if isinstance(answer, Failure):
            raise TrialError(self.client.model, answer)


class TrialError(RewardError):
    """A judge gave no grades for a trial picture.

    Attributes:
        failure: Why.
        setting: The setting that may be at fault; None if none comes to mind.
    """

    def __init__(self, model: str, failure: Failure) -> None:
        self.failure = failure
        self.setting = _at_fault(failure)
        super().__init__(
            f"the judge {model} gave no grades for a trial picture ({failure})",
            "check that the server runs, knows the model and its key, and answers in the asked format"
            + (" (settings.answer_format)" if self.setting is None else f"; set {SETTINGS[self.setting]}"),
        )


SETTINGS = {
    "temperature": "settings.temperature to null if the server takes none",
    "seed": "settings.seed to null if the server takes none",
    "token_field": "settings.token_field to max_completion_tokens, or max_tokens",
    "max_tokens": "settings.max_tokens higher",
    "answer_format": "settings.answer_format to json_object or text",
}
"""What to set, by the setting that may be at fault."""


def _at_fault(failure: Failure) -> str | None:
    """The setting that a server complains about, or that cuts answers off."""
    said = str(failure)
    if failure.cause in ("cut off", "only thoughts"):
        return "max_tokens"
    if not failure.cause.startswith("status 4"):
        return None
    words = {
        "max_completion_tokens": "token_field",
        "max_tokens": "token_field",
        "temperature": "temperature",
        "response_format": "answer_format",
        "json_schema": "answer_format",
        r"""["'`]seed[\\"'`]""": "seed",
    }
    return next((setting for word, setting in words.items() if re.search(word, said)), None)
