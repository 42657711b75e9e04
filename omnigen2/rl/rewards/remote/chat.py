"""A client of OpenAI-compatible chat servers (vLLM, SGLang, `transformers serve`, commercial ones), with pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, assert_never, get_args

from omnigen2.pictures import data_url, shrink, to_png
from omnigen2.rl.reward import Failure, Picture, RewardError
from omnigen2.rl.rewards.remote.transport import Call, JsonPoster, Limits, Reply

Schema: TypeAlias = Mapping[str, Any]
"""A JSON schema."""
AnswerFormat: TypeAlias = Literal["json_schema", "json_object", "text"]
"""How typed answers are asked for: by schema; as any JSON object; or in the prompt's words alone, for servers that know
neither. Nothing falls back from one to another by itself."""


@dataclass(frozen=True, slots=True)
class ChatQuestion:
    """One question to a chat model.

    Attributes:
        system: The instructions.
        content: Texts and finite pictures in the order in which they are shown.
        schema: Of the answer.
        seed: Of the answer's sampling.
    """

    system: str
    content: tuple[str | Picture, ...]
    schema: Schema
    seed: int = 0


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """How answers are sampled and asked for.

    Attributes:
        temperature: 0 takes the likeliest words.
        max_tokens: Longest answer; one that is cut off is invalid.
        seed: Of the sampling; passes of one question use this and the following numbers.
        answer_format: How typed answers are asked for.

    Raises:
        RewardError: If a setting is out of range.
    """

    temperature: float = 0.0
    max_tokens: int = 1024
    seed: int = 0
    answer_format: AnswerFormat = "json_schema"

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 2 or self.max_tokens < 1:
            raise RewardError(
                f"answers need a temperature of 0 to 2 and at least 1 token, got {self.temperature} and "
                f"{self.max_tokens}"
            )
        if self.answer_format not in get_args(AnswerFormat):
            raise RewardError(
                f"answer_format is {self.answer_format!r}; use one of {', '.join(get_args(AnswerFormat))}"
            )


class ChatClient:
    """Asks a chat model questions about pictures.

    Args:
        urls: What comes before `/chat/completions`, such as `http://127.0.0.1:8000/v1`; several servers of the same
            model share the work.
        model: Its name on the server.
        key_variable: The environment variable with the API key; None if the server wants none. The key itself is
            nowhere in settings, messages or records.
        image_side: Pictures with a longer side are scaled down to this, in pixels; None sends them as they are.

    Raises:
        RewardError: If a URL cannot be used, or `image_side` is below 1.
    """

    def __init__(
        self,
        urls: Sequence[str],
        model: str,
        key_variable: str | None = None,
        image_side: int | None = None,
        settings: AnswerSettings | None = None,
        limits: Limits | None = None,
    ) -> None:
        if image_side is not None and image_side < 1:
            raise RewardError(f"image_side must be at least 1 pixel, got {image_side}; None sends pictures as they are")
        self.model = model
        self.image_side = image_side
        self.settings = settings or AnswerSettings()
        self.poster = JsonPoster(urls, limits, key_variable)

    def ask(self, questions: Sequence[ChatQuestion]) -> list[str | Failure]:
        """Ask all questions side by side: the text of each answer, in order, or why there is none."""
        replies = self.poster.post_all("/chat/completions", [self._call(question) for question in questions])
        return [reply if isinstance(reply, Failure) else _text(reply) for reply in replies]

    def _call(self, question: ChatQuestion) -> Call:
        return lambda: self._body(question)

    def _body(self, question: ChatQuestion) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": "system", "content": question.system},
                {"role": "user", "content": [self._part(part) for part in question.content]},
            ],
            "temperature": self.settings.temperature,
            "max_tokens": self.settings.max_tokens,
            "seed": question.seed,
        }
        match self.settings.answer_format:
            case "json_schema":
                form = {"name": "answer", "strict": True, "schema": question.schema}
                return body | {"response_format": {"type": "json_schema", "json_schema": form}}
            case "json_object":
                return body | {"response_format": {"type": "json_object"}}
            case "text":
                return body
            case _:
                assert_never(self.settings.answer_format)

    def _part(self, part: str | Picture) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        return {"type": "image_url", "image_url": {"url": data_url(to_png(shrink(part, self.image_side)))}}


def _text(reply: Reply) -> str | Failure:
    """The text of a chat reply, if it is whole and not refused."""
    match reply:
        case {"choices": [{"message": {"refusal": str(said)}}, *_]} if said:
            return Failure("refused", said[:200])
        case {"choices": [{"finish_reason": "content_filter"}, *_]}:
            return Failure("refused", "by the server's content filter")
        case {"choices": [{"finish_reason": "length"}, *_]}:
            return Failure("cut off", "the answer is longer than max_tokens")
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            return text
        case _:
            return Failure("unreadable reply", "it has no choices[0].message.content")
