"""Instructions written by a vision-language model that sees both pictures.

P4, section 9.4.2: Qwen2.5-VL-72B writes the edit instruction of a pair of frames.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from typing_extensions import override

from omnigen2.curation import CurationError, Dropped, Item, OpenClip, Outcome, Resources, Step
from omnigen2.pictures import to_pixels
from omnigen2.rl.rewards.remote import AnswerSettings, ChatClient, ChatQuestion, Limits

SYSTEM = """\
You write instructions for an image editing model. You are shown two frames of one video, first the picture before and
then the picture after. Write one instruction in plain English that turns the first into the second: say what changes
(what somebody does, how they move, their expression, what appears, what is gone), and nothing that stays. Describe
objects by how they look. Never mention frames, pictures, videos, numbers or names of objects given by a program.
If nothing changes, or so much that no single instruction says it, or you cannot tell, set "usable" to false and say why
in "problem"; otherwise leave "problem" empty."""
SCHEMA = {
    "type": "object",
    "properties": {
        "usable": {"type": "boolean"},
        "instruction": {"type": "string"},
        "problem": {"type": "string"},
    },
    "required": ["usable", "instruction", "problem"],
    "additionalProperties": False,
}
LONGEST = 1000
"""Characters of an instruction."""


class WriteInstruction(Step):
    """Asks any OpenAI-compatible server for the instruction of each pair; what it does not say is never made up.

    Args:
        urls: What comes before `/chat/completions`; several servers of the same model share the work.
        model: Its name on the server.
        key_variable: The environment variable with the API key; None if the server wants none.
        image_side: Longest side of the pictures that are sent, in pixels.
        system: What the model is told.
        settings: How answers are sampled and asked for.
        limits: How much is asked at once, and how long is waited.
    """

    elsewhere = ("urls", "key_variable", "limits", "workers")
    batch = 64

    def __init__(
        self,
        urls: Sequence[str],
        model: str,
        key_variable: str | None = None,
        image_side: int | None = 768,
        system: str = SYSTEM,
        settings: AnswerSettings | None = None,
        limits: Limits | None = None,
        workers: int = 1,
    ) -> None:
        self.urls, self.model, self.key_variable = tuple(urls), model, key_variable
        self.image_side, self.system = image_side, system
        self.answers, self.asking = settings or AnswerSettings(), limits or Limits()
        self.resources = Resources(0.25, workers=workers)

    @cached_property
    def client(self) -> ChatClient:
        """Made where it is used."""
        return ChatClient(self.urls, self.model, self.key_variable, self.image_side, self.answers, self.asking)

    @override
    def check(self) -> None:
        import torch

        grey = torch.zeros(3, 64, 64)
        once = ChatClient(
            self.urls, self.model, self.key_variable, self.image_side, self.answers, replace(self.asking, attempts=1)
        )
        (answer,) = once.ask([self._question((grey, grey))])
        said = read_answer(answer) if isinstance(answer, str) else Dropped(answer.cause, answer.detail)
        if isinstance(said, Dropped) and said.reason not in DECLINED:
            raise CurationError(
                f"the model {self.model} gave no answer to a trial question ({said.reason}: {said.detail})",
                "check that the server runs, knows the model and its key, and answers in settings.answer_format",
            )

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        pictures = [tuple(to_pixels(clip.read(frame)) for frame in item.frames) for item in items]
        answers = self.client.ask([self._question(shown) for shown in pictures])
        outcomes: list[Outcome] = []
        for item, answer in zip(items, answers, strict=True):
            if not isinstance(answer, str):
                outcomes.append(Dropped(answer.cause, answer.detail, answer.transient))
                continue
            item = item.with_made("words", {"model": self.model, "answer": answer[: 4 * LONGEST]})
            said = read_answer(answer)
            if isinstance(said, Dropped):
                outcomes.append(replace(said, item=item))
            else:
                outcomes.append((replace(item, instruction=said),))
        return outcomes

    def _question(self, shown: Sequence[Any]) -> ChatQuestion:
        content: list[Any] = []
        for number, picture in enumerate(shown):
            content += [f"{'After' if number == len(shown) - 1 else 'Before'}:", picture]
        return ChatQuestion(self.system, tuple(content), SCHEMA, self.answers.seed)


UNUSABLE, EMPTY = "the model finds no instruction", "the model gave an empty instruction"
DECLINED = (UNUSABLE, EMPTY)
"""What a server may say of a grey picture and still be one that works."""


def read_answer(answer: str) -> str | Dropped:
    """The instruction in an answer, or why there is none: nothing is repaired."""
    try:
        fields: Any = json.loads(answer)
    except (ValueError, RecursionError):
        fields = None
    match fields:
        case {"usable": bool(usable), "instruction": str(words), "problem": str(problem)}:
            words = " ".join(words.split())
            if not usable:
                return Dropped(UNUSABLE, problem[:200])
            if not words:
                return Dropped(EMPTY)
            if len(words) > LONGEST:
                return Dropped("the instruction is too long", f"{len(words)} characters")
            return words
        case _:
            return Dropped("an answer that cannot be read", answer[:200])
