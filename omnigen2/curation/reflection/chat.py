"""A vision-language model behind a chat server as the judge.

P4 (arXiv:2506.18871 version 4), section 9.5.2: asked one question after another (DSG), a judge saw what is not there;
so it lists problems and changes directly.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from typing_extensions import override

from omnigen2.curation import CurationError
from omnigen2.curation.reflection.judge import ReflectionJudge, Shown, Unjudged, Verdict
from omnigen2.curation.reflection.prompts import Prompt
from omnigen2.curation.steps import Server, answer_schema, read_fields
from omnigen2.rl.rewards.remote import ChatClient, writable

SYSTEM = """\
You check the pictures of an image generation model. You are shown a picture and the instruction that it was drawn for.
List in "problems" everything that the instruction asks for and the picture lacks or shows wrongly: objects, their
number, colours and other properties, where they are, text, style, and objects that are clearly broken. List in
"changes" what has to be done about them. Write in "edit" one instruction in plain English that makes these changes, for
an image editing model that sees the picture but not the original instruction. Judge by the instruction alone: what it
leaves open is never a problem. If nothing is wrong, leave all three empty. Give in "score" from 0 to 10 how well the
picture follows the instruction."""
TEXTS = {"type": "array", "items": {"type": "string"}}
SCORE = {"type": "number", "minimum": 0, "maximum": 10}
SCHEMA = answer_schema(problems=TEXTS, changes=TEXTS, edit="string", score=SCORE)
LONGEST = 1000
"""Characters of each text of an answer."""


class ChatReflector(ReflectionJudge):
    """Asks any OpenAI-compatible server; what it does not say is never made up.

    Args:
        server: That is asked.
        system: What the model is told.
    """

    def __init__(self, server: Server, system: str = SYSTEM) -> None:
        self.server, self.system = server, system
        words = hashlib.sha256(f"{system} {SCHEMA}".encode()).hexdigest()[:8]
        answers = self._client.settings
        self.by = (
            f"{server.model}: temperature {answers.temperature}, seed {answers.seed}, {answers.answer_format}, "
            f"side {server.image_side or 'any'}, words {words}"
        )

    @cached_property
    def _client(self) -> ChatClient:
        return self.server.client()

    @override
    def check(self, prompts: Sequence[Prompt]) -> None:
        self.server.check()

    @override
    def judge(self, shown: Sequence[Shown]) -> Sequence[Verdict | Unjudged]:
        questions = [
            self.server.question(self.system, ("Picture:", one.picture, f"Instruction: {one.prompt.text}"), SCHEMA)
            for one in shown
        ]
        return [
            read_verdict(answer) if isinstance(answer, str) else Unjudged(answer.cause, answer.detail, answer.transient)
            for answer in self._client.ask(questions)
        ]


def read_verdict(answer: str) -> Verdict | Unjudged:
    """The verdict in an answer, or why there is none: nothing is repaired."""
    said = writable(answer[:200])
    match read_fields(answer):
        case {
            "problems": list(problems),
            "changes": list(changes),
            "edit": str(edit),
            "score": int() | float() as score,
        }:
            texts: list[Any] = [*problems, *changes, edit]
        case _:
            return Unjudged("an answer that cannot be read", said)
    if not all(isinstance(text, str) for text in texts) or isinstance(score, bool) or not 0 <= score <= 10:
        return Unjudged("an answer that cannot be read", said)
    if max(map(len, texts)) > LONGEST:
        return Unjudged("an answer that is too long", said)
    *lines, edit = (" ".join(text.split()) for text in texts)
    try:
        return Verdict(float(score), tuple(lines[: len(problems)]), tuple(lines[len(problems) :]), edit)
    except CurationError:
        return Unjudged("an answer that contradicts itself", said)
