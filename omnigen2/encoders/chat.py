"""Conversations and the chat template the released weights were trained with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from PIL import Image

from omnigen2.errors import check_choice

Speaker: TypeAlias = Literal["system", "user", "assistant"]

SYSTEM_PROMPT = "You are a helpful assistant that generates high-quality images based on user instructions."
"""In front of every drawing prompt, in training and inference; also of the negative prompt in inference."""
SYSTEM_PROMPT_DROPPED = "You are a helpful assistant that generates images."
"""Takes its place in training when the prompt is dropped (the user text is then empty)."""
SYSTEM_PROMPT_PLAIN = "You are a helpful assistant."
"""In front of the negative prompt in the released RL configurations."""

IMAGE_TOKEN = "<|img|>"  # noqa: S105
"""What the model says when it wants to draw."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation.

    Attributes:
        speaker: Who says it.
        text: What is said, taken literally: `<|im_end|>` in it is ten letters, not the end of the turn.
        images: Pictures shown with it, in front of the text.
    """

    speaker: Speaker
    text: str
    images: tuple[Image.Image, ...] = ()

    def __post_init__(self) -> None:
        check_choice("the speaker of a Message", self.speaker, Speaker)
        try:
            self.text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"the {self.speaker} text has half a character (a lone surrogate) at index {error.start}, got "
                f"{self.text[error.start]!r}; was it read in the wrong encoding?"
            ) from error
        if self.images and self.speaker != "user":
            raise ValueError(f"{len(self.images)} images in a {self.speaker} message; only users show pictures")


Conversation: TypeAlias = tuple[Message, ...]


@dataclass(frozen=True)
class Piece:
    """A run of a rendered conversation that is tokenised on its own.

    Attributes:
        text: Its letters.
        template: How many letters in front belong to the template; the rest was written by a person or the model.
        special: Whether it is one token of the template, such as `<|im_end|>`.
        image: Number of the picture it stands for, counted over the conversation, if any.
    """

    text: str
    template: int
    special: bool = False
    image: int | None = None


def special(token: str, image: int | None = None) -> Piece:
    """A token of the template."""
    return Piece(token, len(token), special=True, image=image)


def drawing(text: str, images: Sequence[Image.Image] = (), system: str = SYSTEM_PROMPT) -> Conversation:
    """The conversation that conditions a drawing, the same for text-to-image and editing.

    Args:
        text: The instruction; empty for the unconditional branch.
        images: References that the vision-language model is to see; none in the released training code.
        system: System prompt.
    """
    return (Message("system", system), Message("user", text, tuple(images)))


def render(conversation: Conversation, answer: str | None = None) -> list[Piece]:
    """Write a conversation in the template of Qwen2.5-VL.

    Each picture becomes `<img1>: <|vision_start|><|image_pad|><|vision_end|>` in front of the message's text, numbers
    counted over the whole conversation.

    Args:
        conversation: Messages in order.
        answer: How the assistant's next turn begins, `""` to let it speak; None for no further turn.

    Returns:
        Pieces whose texts, joined, are the prompt as the released code writes it.
    """
    pieces: list[Piece] = []
    seen = 0
    for message in conversation:
        pieces.append(special("<|im_start|>"))
        opening = f"{message.speaker}\n"
        for number in range(seen + 1, seen + 1 + len(message.images)):
            opening += f"<img{number}>: "
            pieces.append(Piece(opening, len(opening)))
            pieces += [special("<|vision_start|>"), special("<|image_pad|>", number - 1), special("<|vision_end|>")]
            opening = ""
        seen += len(message.images)
        own = 0 if message.speaker == "system" else len(message.text)
        text = opening + message.text
        pieces += [Piece(text, len(text) - own), special("<|im_end|>"), Piece("\n", 1)]
    if answer is not None:
        opening = "assistant\n"
        pieces += [special("<|im_start|>"), Piece(opening + answer, len(opening))]
    return pieces
