"""A folder of stored samples with a damaged file: refused, or the very samples."""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from random import Random

from omnigen2.data import ByteLength, ChunkWriter, Sample, StreamingSource
from omnigen2.data.samples import measure
from omnigen2.pictures import ImageReader
from tests.data.cases import answer, drawing, edit
from tests.fuzz.attempt import Case
from tests.fuzz.damage import bytes_damaged, json_damaged, safetensors_damaged, workshop

SAMPLES: list[Sample] = [*(drawing(i, 8 + i) for i in range(4)), *(edit(i) for i in range(3)), answer(0), answer(1)]


@cache
def valid() -> Path:
    folder = workshop() / "chunks" / "valid"
    with ChunkWriter(folder, 700) as writer:
        for sample in SAMPLES:
            writer.add(sample, measure(sample, ByteLength().count(sample), ImageReader()))
    return folder


def cases(seed: int) -> Iterator[Case]:
    rng, numbers = Random(f"chunks {seed}"), count()
    files = sorted(path.name for path in valid().iterdir() if path.is_file())
    while True:
        name = rng.choice((rng.choice(files), next(one for one in files if one.endswith(".json"))))
        how, content = damaged(name, rng)
        yield f"{name}: {how}", attempt(f"{seed}_{next(numbers)}", name, content)


def damaged(name: str, rng: Random) -> tuple[str, bytes | None]:
    """None removes the file."""
    content = (valid() / name).read_bytes()
    how = rng.choice(("bytes", "bytes", "head", "zeros", "gone", "other"))
    if name.endswith(".json") and rng.random() < 0.6:
        text = json_damaged(json.loads(content), rng)
        return text[0], text[1].encode("utf-8", "surrogatepass")
    if name.endswith(".safetensors") and rng.random() < 0.6:
        return safetensors_damaged(content, rng)
    match how:
        case "zeros":
            return how, bytes(len(content))
        case "gone":
            return how, None
        case "other":
            other = rng.choice([path for path in sorted(valid().iterdir()) if path.is_file() and path.name != name])
            return f"holds {other.name}", other.read_bytes()
        case _:
            return bytes_damaged(content, rng, 64 if how == "head" else None)


def attempt(folder: str, name: str, content: bytes | None) -> Callable[[], None]:
    def call() -> None:
        copy = valid().parent / folder
        shutil.copytree(valid(), copy)
        try:
            (copy / name).unlink()
            if content is not None:
                (copy / name).write_bytes(content)
            source = StreamingSource(copy)
            assert len(source) == len(SAMPLES), f"accepted with {len(source)} of {len(SAMPLES)} samples"
            for number, sample in enumerate(SAMPLES):
                assert source[number] == sample, f"sample {number} is another"
                assert source.task(number) == sample.task, f"sample {number} has the task {source.task(number)}"
                expected = measure(sample, ByteLength().count(sample), ImageReader())
                assert source.sizes(number) == expected, f"sample {number} is said to have {source.sizes(number)}"
        finally:
            shutil.rmtree(copy)

    return call
