"""`omnigen2 chat`: talk with the model, and let it draw."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image

from omnigen2.commands.model import (
    add_model_options,
    add_sampling_options,
    load_generator,
    progress_bar,
    sampling_options,
)
from omnigen2.commands.parser import Parser, run_command
from omnigen2.encoders import Message
from omnigen2.generate import GenerateError, Generator, ModelFolder, Reply, Sampling
from omnigen2.pictures import ImageReader

DESCRIPTION = """\
Talk with the model. When it wants to draw, the picture is written into the --out folder.

  omnigen2 chat --model DIR --message "What is in the picture?" --image photo.png
  omnigen2 chat --model DIR

Without --message, lines are read until the input ends or a line says /quit; /image FILE shows a picture with the
next message.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: What follows the word `chat`.

    Returns:
        The exit status.
    """
    parser = Parser("chat", "--model DIR [--message TEXT [--image FILE …]] [options]", DESCRIPTION)
    add_model_options(parser)
    parser.option("--message", metavar="TEXT", help="say this, print the answer, and end")
    parser.option("--image", action="append", default=[], metavar="FILE", help="shown with the message")
    parser.option("--out", type=Path, default=Path("chat"), metavar="FOLDER", help="for pictures (default: chat)")
    parser.option("--max_new_tokens", type=int, default=256, metavar="N", help="longest answer (default 256)")
    parser.option("--temperature", type=float, default=0.0, help="0 takes the likeliest words (default)")
    add_sampling_options(parser)
    return run_command(parser, arguments, _run)


def _run(options: argparse.Namespace) -> None:
    ModelFolder(Path(options.model))
    Sampling(**sampling_options(options))
    if options.message is None and options.image:
        raise GenerateError("--image goes with --message", "or write /image FILE in the conversation")
    turns = _typed() if options.message is None else iter([_message(options.message, options.image)])
    generator = load_generator(options)
    talk: list[Message] = []
    for message in turns:
        reply = _answer(generator, options, [*talk, message])
        talk += [message, Message("assistant", reply.text)]
        print(reply.text)
        for picture in reply.pictures:
            print(f"wrote {picture.save(_free(options.out))} (seed {picture.request.seed})")


def _answer(generator: Generator, options: argparse.Namespace, talk: list[Message]) -> Reply:
    sampling = Sampling(**sampling_options(options))
    with progress_bar(sampling.steps, "drawing") as tell:
        return generator.chat(
            talk,
            height=options.height,
            width=options.width,
            seed=options.seed,
            max_new_tokens=options.max_new_tokens,
            temperature=options.temperature,
            progress=tell,
            **sampling_options(options),
        )


def _message(text: str, paths: Sequence[str]) -> Message:
    return Message("user", text, tuple(ImageReader().read(path) for path in paths))


def _typed() -> Iterator[Message]:
    """Messages from the input; a wrong picture is said and the conversation goes on.

    Yields:
        The user's turns.
    """
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
                images.append(ImageReader().read(text.removeprefix("/image ").strip()))
            except ValueError as error:
                print(f"error: {error}", file=sys.stderr)
        elif text:
            yield Message("user", text, tuple(images))
            images = []


def _free(folder: Path) -> Path:
    """The first name that no picture has."""
    number = 1
    while (folder / f"{number:03d}.png").exists():
        number += 1
    return folder / f"{number:03d}.png"
