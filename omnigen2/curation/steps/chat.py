"""Steps that ask a vision-language model on a server: what they have in common.

Answers are asked for by schema and read without trust: one that is not what was asked for drops its item, nothing is
repaired. A server that does not answer leaves the clip for another time.
"""

import json
import re
from abc import abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any, ClassVar, TypeAlias

from typing_extensions import override

from omnigen2.curation import CurationError, Dropped, Frame, Item, OpenClip, Outcome, Resources, Step
from omnigen2.pictures import Picture, shrink, to_pixels
from omnigen2.rl.rewards.remote import (
    AnswerSettings,
    ChatClient,
    ChatQuestion,
    Limits,
    Schema,
    unique_fields,
    writable,
)

Content: TypeAlias = tuple[str | Picture, ...]
"""A question: texts and pictures in the order in which they are shown."""
UNREADABLE = "an answer that cannot be read"
KEPT = 4000
"""Characters of an answer that are kept, to see where something comes from."""
FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)


def answer_schema(**fields: str | Mapping[str, Any]) -> Schema:
    """Of an object with exactly these fields: a JSON type such as "string" for each, or a schema."""
    properties = {name: {"type": kind} if isinstance(kind, str) else dict(kind) for name, kind in fields.items()}
    return {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}


@dataclass(frozen=True)
class Server:
    """A chat server with a vision-language model. Steps of one recipe share it as `${vars.server}`.

    Attributes:
        urls: What comes before `/chat/completions`; several servers of the same model share the work.
        model: Its name on the server.
        key_variable: The environment variable with the API key; None if the server wants none.
        image_side: Longest side of the pictures that are sent, in pixels; None sends them as they are.
        settings: How answers are sampled and asked for.
        limits: How much is asked at once, and how long is waited.
        workers: That ask.

    Raises:
        RewardError: If a URL cannot be used, or `image_side` is below 1.
    """

    urls: tuple[str, ...]
    model: str
    key_variable: str | None = None
    image_side: int | None = 768
    settings: AnswerSettings | None = None
    limits: Limits | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        self.client()

    def client(self) -> ChatClient:
        """A client of it."""
        return ChatClient(self.urls, self.model, self.key_variable, self.image_side, self.settings, self.limits)

    def question(self, system: str, content: Content, schema: Schema) -> ChatQuestion:
        """A question in its answer format; the schema is told in words where it cannot be given otherwise."""
        answers = self.settings or AnswerSettings()
        if answers.answer_format != "json_schema":
            system = f"{system}\nAnswer with one JSON object of this schema and nothing else: {json.dumps(schema)}"
        return ChatQuestion(system, content, schema, answers.seed)

    def check(self) -> None:
        """Ask for the colour of a grey picture, once.

        Raises:
            CurationError: If there is no answer, or none that can be read.
        """
        import torch

        once = replace(self, limits=replace(self.limits or Limits(), attempts=1)).client()
        content = ("Picture:", torch.zeros(3, 64, 64), "Which colour has it?")
        (answer,) = once.ask([self.question("You name colours.", content, answer_schema(colour="string"))])
        if isinstance(answer, str) and isinstance((read_fields(answer) or {}).get("colour"), str):
            return
        said = f"{UNREADABLE}: {answer[:200]}" if isinstance(answer, str) else str(answer)
        raise CurationError(
            f"the model {self.model} gave no answer to a trial question ({said})",
            "check that the server runs, knows the model and its key, and answers in settings.answer_format",
        )


class ChatStep(Step):
    """Asks a server about each item, and says what its answers mean; what it does not say is never made up.

    Args:
        server: That is asked.
        system: What the model is told.

    Attributes:
        name: Of its answers in `Item.made`, which has the model and what it said in its own words.
        schema: Of an answer.
    """

    name: ClassVar[str]
    schema: ClassVar[Schema]
    elsewhere = ("server.urls", "server.key_variable", "server.limits", "server.workers")

    def __init__(self, server: Server, system: str) -> None:
        self.server, self.system = server, system
        self.resources = Resources(0.25, workers=server.workers)
        self.batch = 4 * (server.limits or Limits()).concurrency  # the server is busy, and memory bounded

    @abstractmethod
    def questions(self, item: Item, clip: OpenClip) -> Sequence[Content]:
        """What is asked of an item."""

    @abstractmethod
    def outcome(self, item: Item, answers: Sequence[Mapping[str, Any]], clip: OpenClip) -> Outcome | None:
        """What the answers to the questions mean, in their order; None if one is not what was asked for."""

    @property
    @override
    def checked_as(self) -> Hashable:
        return self.server

    @override
    def check(self) -> None:
        self.server.check()

    @override
    def spent(self) -> Mapping[str, int]:
        return self._client.spent

    @override
    def run(self, items: Sequence[Item], clip: OpenClip) -> Sequence[Outcome]:
        asked = [self.questions(item, clip) for item in items]
        sent = [self.server.question(self.system, content, self.schema) for contents in asked for content in contents]
        answers = iter(self._client.ask(sent))
        return [
            self._outcome(item, list(islice(answers, len(of))), clip) for item, of in zip(items, asked, strict=True)
        ]

    def shown(self, frame: Frame, clip: OpenClip) -> Picture:
        """A frame as it is sent."""
        return shrink(to_pixels(clip.read(frame)), self.server.image_side)

    @cached_property
    def _client(self) -> ChatClient:
        return self.server.client()

    def _outcome(self, item: Item, answers: Sequence[Any], clip: OpenClip) -> Outcome:
        failures = [answer for answer in answers if not isinstance(answer, str)]
        if failures:
            worst = min(failures, key=lambda failure: failure.transient)
            return Dropped(worst.cause, worst.detail, worst.transient)
        told = {"model": self.server.model, "answers": [writable(answer[:KEPT]) for answer in answers]}
        item = item.with_made(self.name, told)
        read = [read_fields(answer) for answer in answers]
        whole = [fields for fields in read if fields is not None]
        outcome = self.outcome(item, whole, clip) if len(whole) == len(read) else None
        if outcome is None:
            return Dropped(UNREADABLE, " | ".join(answers)[:200], item=item)
        if isinstance(outcome, Dropped) and outcome.item is None:
            return replace(outcome, item=item)
        return outcome


def read_fields(answer: str) -> Mapping[str, Any] | None:
    """The JSON object that an answer is, in a code fence or not; None if it is none, or a field is given twice."""
    fenced = FENCE.fullmatch(answer.strip())
    try:
        fields: Any = json.loads(fenced[1] if fenced else answer, object_pairs_hook=unique_fields)
        json.dumps(fields, ensure_ascii=False).encode()  # fails at halves of characters, which nobody could write
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None
