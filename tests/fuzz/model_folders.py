"""Model folders with a damaged configuration or file of weights: refused, or the model that they hold."""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn

from omnigen2.generate import Generator, make_tiny
from tests.fuzz.attempt import Case
from tests.fuzz.damage import bytes_damaged, json_damaged, safetensors_damaged, workshop

STRICT = ("transformer/config.json", "scheduler/scheduler_config.json", "vae/config.json")
"""Configurations in which no key is passed over."""


@cache
def valid() -> Path:
    return make_tiny(workshop() / "folders" / "valid")


@cache
def loaded() -> dict[str, Tensor]:
    return states(Generator.from_folder(valid()))


def states(generator: Generator) -> dict[str, Tensor]:
    """All weights of all parts of a generator."""
    found: dict[str, Tensor] = {}
    parts = {"transformer": generator.transformer, "vlm": generator.encoders.vlm, "vae": generator.encoders.vae}
    for name, part in parts.items():
        inside = {"": part} if isinstance(part, nn.Module) else vars(part)
        modules = {key: one for key, one in inside.items() if isinstance(one, nn.Module)}
        found |= {f"{name}.{key}.{at}": value for key, one in modules.items() for at, value in one.state_dict().items()}
    assert len(found) > 100, "not all parts have weights here"
    return found


def cases(seed: int) -> Iterator[Case]:
    rng, numbers = Random(f"folders {seed}"), count()
    files = sorted(str(path.relative_to(valid())) for path in valid().rglob("*") if path.is_file())
    weights = [name for name in files if name.endswith(".safetensors")]
    configs = [name for name in files if name.endswith(".json") and "tokenizer.json" not in name]
    while True:
        name = rng.choice((rng.choice(files), rng.choice(weights), rng.choice(configs)))
        how, content = damaged(name, rng)
        yield f"{name}: {how}", attempt(f"{seed}_{next(numbers)}", name, how, content)


def damaged(name: str, rng: Random) -> tuple[str, bytes | None]:
    """None removes the file."""
    content = (valid() / name).read_bytes()
    if rng.random() < 0.08:
        return "gone", None
    if name.endswith(".safetensors"):
        return safetensors_damaged(content, rng)
    if name.endswith(".json") and rng.random() < 0.8:
        how, text = json_damaged(json.loads(content), rng)
        return how, text.encode("utf-8", "surrogatepass")
    return bytes_damaged(content, rng)


def attempt(folder: str, name: str, how: str, content: bytes | None) -> Callable[[], None]:
    def call() -> None:
        expected, copy = loaded(), valid().parent / folder
        shutil.copytree(valid(), copy)
        try:
            (copy / name).unlink()
            if content is not None:
                (copy / name).write_bytes(content)
            found = states(Generator.from_folder(copy))
            if name.endswith(".safetensors") and not how.startswith("swap"):
                assert found.keys() == expected.keys(), "accepted with other tensors"
                others = [key for key in expected if not torch.equal(expected[key], found[key])]
                assert not others, f"accepted with another {others[0]}"
            if name in STRICT and how == "unknown key":
                unknown = json.loads((copy / name).read_text()).get("unknown_key")
                assert not unknown or isinstance(unknown, bool), f"accepted with unknown_key {unknown!r}"
        finally:
            shutil.rmtree(copy)

    return call
