"""A chat server for steps that ask: it says what a test tells it to say."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from omnigen2.curation import Frame, OpenClip
from omnigen2.curation.steps import Server
from omnigen2.rl.rewards.remote import Limits
from tests.rl.loopback import Answer, Asked, Loopback, chat_answer, loopback

ONCE = Limits(concurrency=1, attempts=1, backoff_s=0.0)


@contextmanager
def answering(*answers: Any) -> Generator[tuple[Server, Loopback]]:
    """A server with these answers, one after another: texts, an `Answer`, or what becomes JSON."""
    left = iter(answers)

    def act(asked: Asked) -> Answer:
        said = next(left)
        if isinstance(said, Answer):
            return said
        return Answer(body=chat_answer(said if isinstance(said, str) else json.dumps(said)))

    with loopback(act) as served:
        yield Server((f"{served.url}/v1",), "tiny", limits=ONCE), served


def texts_of(asked: Asked) -> list[str]:
    """The texts of a question, in order."""
    return [part["text"] for part in asked.body["messages"][1]["content"] if part["type"] == "text"]


def frames_of(clip: OpenClip, *colours: int) -> tuple[Frame, ...]:
    """Frames of 16 x 12 pixels, each of one grey, a second apart."""
    found: list[Frame] = []
    for second, colour in enumerate(colours):
        name = f"frames/{second}-{colour}.png"
        (clip.folder / "frames").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12), (colour, colour, colour)).save(clip.folder / name)
        found.append(Frame(float(second), name))
    return tuple(found)


def folder_of(path: Path) -> OpenClip:
    """A clip whose frames lie in a folder."""
    return OpenClip(path / "clip.mp4", path)
