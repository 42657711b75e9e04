"""`omnigen2 chat`: talk with the model, and let it draw."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path

from PIL import Image

from omnigen2.commands.options import at_most, note, run_command
from omnigen2.commands.settings import DrawingParser, ModelSettings, PictureSettings, load_generator, progress_bar
from omnigen2.encoders import HOTTEST, MOST_NEW_TOKENS, Message, check_proportions
from omnigen2.errors import UserError
from omnigen2.generate import GenerateError, Generator, ModelFolder, Reply, Sampling, read_calibration
from omnigen2.pictures import ImageReader

DESCRIPTION = """\
Talk with the model. When it wants to draw, the picture is written into the --out folder.

  omnigen2 chat --model DIR --message "What is in the picture?" --image photo.png
  omnigen2 chat --model DIR

Without --message, lines are read until the input ends or a line says /quit; /image FILE shows a picture with the
next message.
"""


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """What is said.

    Attributes:
        message: Say this, print the answer, and end.
        image: Shown with the message; may be repeated.
        out: Folder for pictures.
        max_new_tokens: Longest answer.
        temperature: At 0 the likeliest words are taken.

    Raises:
        GenerateError: If a number is out of range.
    """

    message: str | None = None
    image: tuple[Path, ...] = ()
    out: Path = Path("chat")
    max_new_tokens: int = field(default=256, metadata=at_most(MOST_NEW_TOKENS))
    temperature: float = field(default=0.0, metadata=at_most(HOTTEST))
    model: ModelSettings
    picture: PictureSettings = field(default_factory=PictureSettings)
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or not 0 <= self.temperature < inf:
            raise GenerateError(
                f"got max_new_tokens {self.max_new_tokens} and temperature {self.temperature}",
                "expected at least 1 token and a temperature of 0 or more",
            )


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    usage = "--model DIR [--message TEXT [--image FILE …]] [options]"
    return run_command(DrawingParser(ChatSettings, "chat", usage, DESCRIPTION), arguments, _run)


def _run(settings: ChatSettings) -> None:
    folder = ModelFolder(settings.model.model)
    if settings.message is None and settings.image:
        raise GenerateError("--image goes with --message", "or write /image FILE in the conversation")
    if (calibration := read_calibration(folder.path)) is not None:
        calibration.check(settings.sampling)
    turns = _typed() if settings.message is None else iter([_message(settings.message, settings.image)])
    if "mllm" in folder.untrained():
        note(f"the language model of {folder.path} is not trained: its answers mean nothing (generate draws with it)")
    generator = load_generator(settings.model)
    talk: list[Message] = []
    for message in turns:
        reply = _answer(generator, settings, [*talk, message])
        talk += [message, Message("assistant", reply.text)]
        print(reply.text)
        for picture in reply.pictures:
            print(f"wrote {picture.save(_free(settings.out))} (seed {picture.request.seed})")


def _answer(generator: Generator, settings: ChatSettings, talk: list[Message]) -> Reply:
    with progress_bar(settings.sampling.steps, "drawing") as tell:
        return generator.chat(
            talk,
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            progress=tell,
            **asdict(settings.picture),
            **asdict(settings.sampling),
        )


def _message(text: str, paths: Sequence[Path]) -> Message:
    return Message("user", text, tuple(map(_shown, paths)))


def _shown(path: str | Path) -> Image.Image:
    image = ImageReader().read(path)
    check_proportions(image, f"image file {path}")
    return image


def _typed() -> Iterator[Message]:
    """The user's turns, from the input; a wrong picture is said and the conversation goes on."""
    images: list[Image.Image] = []
    while True:
        if sys.stdin.isatty():
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        text = line.strip()
        if not line or text == "/quit":
            return
        if text.startswith("/image "):
            try:
                images.append(_shown(text.removeprefix("/image ").strip()))
            except UserError as error:
                print(f"error: {error.message}", file=sys.stderr)
        elif text:
            yield Message("user", text, tuple(images))
            images = []


def _free(folder: Path) -> Path:
    """The first name that no picture has."""
    number = 1
    while (folder / f"{number:03d}.png").exists():
        number += 1
    return folder / f"{number:03d}.png"
