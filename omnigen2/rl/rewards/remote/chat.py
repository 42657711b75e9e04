"""A client of OpenAI-compatible chat servers (vLLM, SGLang, `transformers serve`, commercial ones), with pictures."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, assert_never, get_args

from omnigen2.pictures import data_url, shrink, to_png
from omnigen2.rl.reward import Failure, Picture, RewardError
from omnigen2.rl.rewards.remote.replies import UNREADABLE, Reply
from omnigen2.rl.rewards.remote.transport import Call, JsonPoster, Limits

Schema: TypeAlias = Mapping[str, Any]
"""A JSON schema."""
AnswerFormat: TypeAlias = Literal["json_schema", "json_object", "text"]
"""How typed answers are asked for: by schema; as any JSON object; or in the prompt's words alone, for servers that know
neither. Nothing falls back from one to another by itself."""
TokenField: TypeAlias = Literal["max_tokens", "max_completion_tokens"]
"""What a server calls the longest answer; models that think count their thoughts by the latter."""


@dataclass(frozen=True, slots=True)
class ChatQuestion:
    """One question to a chat model.

    Attributes:
        system: The instructions.
        content: Texts and finite pictures in the order in which they are shown.
        schema: Of the answer.
        seed: Of the answer's sampling; None is not sent.
    """

    system: str
    content: tuple[str | Picture, ...]
    schema: Schema
    seed: int | None = 0


@dataclass(frozen=True, slots=True)
class AnswerSettings:
    """How answers are sampled and asked for.

    Attributes:
        temperature: 0 takes the likeliest words; None is not sent, for servers that take none.
        max_tokens: Longest answer; one that is cut off is invalid.
        seed: Of the sampling; passes of one question use this and the following numbers. None is not sent, for servers
            that take none.
        answer_format: How typed answers are asked for.
        token_field: What the server calls `max_tokens`.

    Raises:
        RewardError: If a setting is out of range.
    """

    temperature: float | None = 0.0
    max_tokens: int = 1024
    seed: int | None = 0
    answer_format: AnswerFormat = "json_schema"
    token_field: TokenField = "max_tokens"  # noqa: S105  (words, not a secret)

    def __post_init__(self) -> None:
        if not (self.temperature is None or 0 <= self.temperature <= 2) or self.max_tokens < 1:
            raise RewardError(
                f"answers need a temperature of 0 to 2 and at least 1 token, got {self.temperature} and "
                f"{self.max_tokens}"
            )
        for name, known in (("answer_format", get_args(AnswerFormat)), ("token_field", get_args(TokenField))):
            if (given := getattr(self, name)) not in known:
                raise RewardError(f"{name} is {given!r}; use one of {', '.join(known)}")


class ChatClient:
    """Asks a chat model questions about pictures.

    Args:
        urls: What comes before `/chat/completions`, such as `http://127.0.0.1:8000/v1`; several servers of the same
            model share the work.
        model: Its name on the server.
        key_variable: The environment variable with the API key; None if the server wants none. The key itself is
            nowhere in settings, messages or records.
        image_side: Pictures with a longer side are scaled down to this, in pixels; None sends them as they are.

    Attributes:
        spent: Questions so far, and tokens of questions and answers as far as servers tell them.

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
        self.spent: Counter[str] = Counter()
        self.poster = JsonPoster(urls, limits, key_variable)

    def ask(self, questions: Sequence[ChatQuestion]) -> list[str | Failure]:
        """Ask all questions side by side: the text of each answer, in order, or why there is none."""
        calls = [self._call(question) for question in questions]
        replies = self.poster.post_all("/chat/completions", calls, lambda number, reply: not _shapeless(reply))
        self.spent["questions"] += len(questions)
        for reply in replies:
            self.spent += _tokens(reply)
        return [reply if isinstance(reply, Failure) else reply_text(reply) for reply in replies]

    def _call(self, question: ChatQuestion) -> Call:
        return lambda: self._body(question)

    def _body(self, question: ChatQuestion) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [
                {"role": "system", "content": question.system},
                {"role": "user", "content": [self._part(part) for part in question.content]},
            ],
            self.settings.token_field: self.settings.max_tokens,
        }
        optional = {"seed": question.seed, "temperature": self.settings.temperature}
        body |= {name: value for name, value in optional.items() if value is not None}
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


def reply_text(reply: Reply) -> str | Failure:
    """The text of a chat reply, if it is whole and not refused."""
    match reply:
        case {"choices": [{"message": {"refusal": str(said)}}, *_]} if said:
            return Failure("refused", said[:200])
        case {"choices": [{"finish_reason": "content_filter"}, *_]}:
            return Failure("refused", "by the server's content filter")
        case {"choices": [{"finish_reason": "length" | "max_tokens"}, *_]}:
            return Failure("cut off", "the answer is longer than max_tokens")
        case {"choices": [{"finish_reason": "error"}, *_]}:
            return Failure("cut off", "the server broke off")
        case {"choices": [{"message": {"content": str(text)}}, *_]} if text.strip():
            return text
        case {"choices": [{"message": {"content": list(parts)}}, *_]}:
            return _joined(parts)
        case {"choices": [{"message": {"reasoning_content": str(thought)} | {"reasoning": str(thought)}}, *_]} if (
            thought
        ):
            return Failure("only thoughts", "the model thought and gave no answer; raise max_tokens")
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            return text
        case {"error": error} if error:
            return Failure(UNREADABLE, f"the server says {error!r:.150}")
        case _:
            return Failure(UNREADABLE, "it has no choices[0].message.content")


def _tokens(reply: Reply | Failure) -> Counter[str]:
    """What the `usage` of a reply says; nothing where it says nothing."""
    usage: Any = {} if isinstance(reply, Failure) else reply.get("usage")
    told = usage if isinstance(usage, dict) else {}
    found = {"tokens in": told.get("prompt_tokens"), "tokens out": told.get("completion_tokens")}
    return Counter({name: value for name, value in found.items() if type(value) is int and value > 0})


def _joined(parts: list[Any]) -> str | Failure:
    """The text of a message in parts; what the model thought is no part of it."""
    texts: list[str] = []
    for part in parts:
        match part:
            case {"type": "text" | "output_text", "text": str(text)}:
                texts.append(text)
            case {"type": "refusal", "refusal": str(said)}:
                return Failure("refused", said[:200])
            case {"type": "thinking" | "reasoning" | "redacted_thinking"}:
                pass
            case _:
                return Failure(UNREADABLE, f"a part of its content is {part!r:.100}")
    return "".join(texts)


def _shapeless(reply: Reply) -> bool:
    """Whether a reply is none of a chat server, so that another server may know better."""
    text = reply_text(reply)
    return isinstance(text, Failure) and text.cause == UNREADABLE
