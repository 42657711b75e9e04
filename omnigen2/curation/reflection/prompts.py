"""What pictures are drawn of: a text file with a prompt on each line, or JSON lines with more."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from omnigen2.curation import CurationError
from omnigen2.files import Fields, read_json_lines

KEYS = ("prompt", "meta", "seed", "height", "width")
SPREAD = 10_000
"""From one seed that is asked for to the next; the tries of one prompt use those between."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is drawn.

    Attributes:
        text: The words.
        seed: Of the first try; those after it have the seeds after it.
        height: In pixels.
        width: In pixels.
        meta: For the judge, such as a task of the micro-world; the model does not see it.
    """

    text: str
    seed: int
    height: int
    width: int
    meta: str = ""

    @property
    def key(self) -> str:
        """The same for equal prompts, and for no others."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def read_prompts(path: Path, seed: int, height: int, width: int) -> list[Prompt]:
    """The prompts of a file, each of them once.

    Args:
        path: In a `.jsonl` file a line is `{"prompt": …}` and any of `meta` (text), `seed`, `height` and `width`; in
            a `.txt` file it is a prompt, and blank ones count for nothing.
        seed: Gives other pictures of the same prompts. Of a line without a seed it is made of this number and of its
            words, so that lines may come and go.
        height: In pixels, where a line says nothing; so is `width`.

    Raises:
        CurationError: If the file is missing or empty, or a line is wrong.
    """
    if not path.is_file() or path.suffix not in (".txt", ".jsonl"):
        raise CurationError(
            f"{path} is no file of prompts", "name a .txt file with a prompt on each line, or a .jsonl file"
        )
    found = list((_jsonl if path.suffix == ".jsonl" else _text)(path, seed, height, width))
    if not found:
        raise CurationError(f"{path} has no prompts", "write one on each line")
    return list({prompt.key: prompt for prompt in found}.values())


def _text(path: Path, seed: int, height: int, width: int) -> Iterator[Prompt]:
    try:
        lines = path.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise CurationError(f"{path} is no UTF-8 text ({error})", "save it as UTF-8") from error
    for line in filter(None, map(str.strip, lines)):
        yield Prompt(line, own_seed(seed, line), height, width)


def _jsonl(path: Path, seed: int, height: int, width: int) -> Iterator[Prompt]:
    for line in read_json_lines(path, CurationError):
        fields = Fields({"height": height, "width": width, **line.value}, line.where, CurationError, "correct the line")
        fields.only(*KEYS)
        text, meta = fields.text("prompt").strip(), fields.text("meta") if fields.has("meta") else ""
        if not text:
            raise fields.refusal("prompt", "words")
        given = fields.whole("seed", 0, 2**62) if fields.has("seed") else own_seed(seed, text, meta)
        yield Prompt(text, given, fields.whole("height", 1, 2**14), fields.whole("width", 1, 2**14), meta)


def own_seed(seed: int, text: str, meta: str = "") -> int:
    """A seed for these words, far from those of others; `seed` counts by `SPREAD`."""
    digest = hashlib.sha256(json.dumps([text, meta]).encode()).digest()
    return (int.from_bytes(digest[:5], "big") + seed * SPREAD) % 2**62
