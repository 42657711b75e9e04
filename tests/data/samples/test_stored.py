"""Latents and text states beside the images: what is stored comes back; what does not belong together is refused."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from omnigen2.data import (
    ChunkWriter,
    Collate,
    ConditionDropout,
    DataError,
    ImageEncoder,
    InstructionEncoder,
    LatentOrigin,
    Loaded,
    Mismatch,
    OptimizeSettings,
    Origins,
    PixelRange,
    Sample,
    SampleSizes,
    StatesOrigin,
    Stored,
    StoredTensor,
    StreamingSource,
    TokenBudget,
    optimize,
)
from omnigen2.data.batches.planner import Pick
from omnigen2.data.chunks.record import decode, encode
from omnigen2.data.samples.stored import DTYPES, NUMBER_TYPES, NumberType
from omnigen2.pictures import ResizePolicy
from tests.data.cases import POLICY, answer, picture, write_jsonl

LATENTS = LatentOrigin("means", POLICY, "float16")
DROPPED = torch.full((2, 3), -1.0)
STATES = StatesOrigin("letters", "as they are", StoredTensor.of(DROPPED, "bfloat16"))
BUDGET = TokenBudget(999, POLICY)
BARE = Sample("text_to_image", "x", target=picture(), key="s:0")


class Means(ImageEncoder):
    """Means of blocks of 4 x 4, with a spread of their tenth part; black pictures become infinite."""

    origin = LATENTS

    def compute(self, given: Sequence[Tensor]) -> list[Tensor]:
        means = [torch.nn.functional.avg_pool2d(image, 4) for image in given]
        return [torch.stack((m, m / 10)) / (1 + m.min()) for m in means]


class Letters(InstructionEncoder):
    """One token per letter, three channels; a z becomes infinite."""

    origin = STATES

    def compute(self, given: str) -> list[Tensor]:
        codes = [[1 / (ord("z") - ord(letter)) if letter != "z" else torch.inf] * 3 for letter in given]
        return [torch.tensor(codes).bfloat16()]


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six edits with up to three references, and a question; two records are bad."""
    folder = tmp_path_factory.mktemp("stored")
    for i in range(6):
        (folder / f"{i}.png").write_bytes(picture(40 + 16 * i, 24 + 8 * i, (20 + 40 * i, 90, 120)))
    (folder / "black.png").write_bytes(picture(16, 16, (0, 0, 0)))

    def edit(number: int, target: str, instruction: str) -> dict[str, object]:
        references = [f"{i}.png" for i in range(1 + number % 3)]
        return {"task_type": "edit", "instruction": instruction, "input_images": references, "output_image": target}

    question = {"task_type": "understanding", "instruction": "x?", "input_images": ["1.png"], "answer": "y"}
    lines = [*(edit(i, f"{i}.png", "abcdef"[: 1 + i]) for i in range(6)), question]
    write_jsonl(folder / "own.jsonl", [*lines, edit(0, "black.png", "a"), edit(0, "0.png", "z")])
    settings = OptimizeSettings(chunk_bytes=8000, latents=Means(), states=Letters())
    report = optimize(folder / "own.jsonl", folder / "out", settings, lambda advance: None)
    assert report.sources[0].written == 7
    assert [(bad.line, bad.problem.partition("\n")[0]) for bad in report.bad] == [
        (8, "the largest of 96 numbers is inf, which is not finite as float16"),
        (9, "the largest of 3 numbers is inf, which is not finite as bfloat16"),
    ]
    return folder / "out" / "own"


@pytest.fixture
def copied(chunks: Path, tmp_path: Path) -> Path:
    for file in chunks.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


numbers = st.floats(-6e4, 6e4, width=32)


@given(st.sampled_from(NUMBER_TYPES), st.lists(numbers, max_size=12), st.sampled_from([1, 2, 3]))
def test_tensors_come_back_rounded_and_no_more(stored_as: NumberType, values: list[float], width: int) -> None:
    given = torch.tensor(values)[: len(values) // width * width].reshape(-1, width)
    stored = StoredTensor.of(given, stored_as)
    assert torch.equal(stored.tensor, given.to(DTYPES[stored_as]))
    assert stored.tensor.dtype == DTYPES[stored_as]
    states = Stored((stored,), StatesOrigin("x", "y", StoredTensor.of(torch.zeros(0, width), stored_as)))
    latent = StoredTensor.of(given[None, None].expand(width % 2 + 1, 1, -1, -1), "float32")
    latents = Stored((latent,), LatentOrigin("x", POLICY, "float32"))
    for more in ({"states": states}, {"latents": latents}, {"states": states, "latents": latents}):
        sample = replace(BARE, **more)
        assert decode(encode(sample), "it", sample.origins) == sample


@given(st.sampled_from(NUMBER_TYPES), st.integers(0, 3), st.lists(st.integers(64, 999), min_size=1, max_size=3))
def test_accounts_come_back_equal(
    tmp_path_factory: pytest.TempPathFactory, stored_as: NumberType, tokens: int, limits: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("account")
    states = StatesOrigin("a model", "rules", StoredTensor.of(torch.rand(tokens, 4), stored_as))
    resize = ResizePolicy(limits[0], None if tokens else 99, 8, tuple(limits))
    latents = LatentOrigin("a codec", resize, "float32" if tokens else "float16")
    for origins in (Origins(), Origins(latents), Origins(latents, states)):
        origins.save(folder)
        assert Origins.load(folder) == origins


def test_numbers_that_a_type_cannot_hold_are_refused() -> None:
    refused: list[tuple[float, NumberType]] = [(7e4, "float16"), (float("nan"), "float32")]
    for value, stored_as in refused:
        with pytest.raises(DataError, match=f"not finite as {stored_as}"):
            StoredTensor.of(torch.full((1, 1, 1, 1), value), stored_as)
    with pytest.raises(DataError, match=r"shape \(1, 1, 1, 2\) as float16 and 3 bytes, expected 4 bytes"):
        StoredTensor((1, 1, 1, 2), "float16", b"abc")


@pytest.mark.parametrize(
    ("origin", "shape", "stored_as"),
    [
        (STATES, (3,), "bfloat16"),
        (STATES, (1, 4), "bfloat16"),
        (STATES, (1, 3), "float32"),
        (LATENTS, (3, 1, 1, 1), "float16"),
        (LATENTS, (1, 1, 3), "float16"),
        (LATENTS, (1, 1, 1, 1), "float32"),
    ],
)
def test_other_shapes_or_types_than_the_account_says_are_refused(
    origin: LatentOrigin | StatesOrigin, shape: tuple[int, ...], stored_as: NumberType
) -> None:
    expected = {
        STATES: r"\(tokens, 3\) as bfloat16",
        LATENTS: r"\(1 or 2 moments, channels, height, width\) as float16",
    }
    with pytest.raises(
        DataError, match=rf"{origin.kind} have shape \(.*\) as {stored_as}, expected {expected[origin]}"
    ):
        Stored((StoredTensor.of(torch.zeros(shape), stored_as),), origin)


def test_what_a_batch_has_is_of_its_own_pixels_and_instructions(chunks: Path) -> None:
    source = StreamingSource(chunks)
    assert source.origins() == PixelRange(source).origins() == Origins(LATENTS, STATES)
    picks = [Pick("s", 0, number) for number in range(7)]
    batch = Collate()(picks, {"s": source}, BUDGET)
    for example in batch.examples[:6]:
        assert example.latents is not None
        assert example.states is not None
        assert example.target is not None
        fresh = Means().compute([*example.references, example.target])
        assert all(torch.equal(one, other.half()) for one, other in zip(example.latents.tensors, fresh, strict=True))
        assert torch.equal(example.states.tensors[0], Letters().compute(example.instruction)[0])
    assert [len(example.references) for example in batch.examples] == [1, 2, 3, 1, 2, 3, 1]
    assert batch.examples[6].latents is batch.examples[6].states is None
    moved = batch.to("meta").examples[1]
    found = [tensor for one in (moved.latents, moved.states) if isinstance(one, Loaded) for tensor in one.tensors]
    assert [tensor.device.type for tensor in found] == ["meta"] * 4
    ignored = Collate(precomputed="ignore")(picks, {"s": source}, BUDGET)
    assert not any(example.latents or example.states for example in ignored.examples)


def test_what_is_dropped_takes_its_numbers_along(chunks: Path) -> None:
    sources, picks = {"s": StreamingSource(chunks)}, [Pick("s", 0, number) for number in range(6)]
    for example in Collate(ConditionDropout(1, 1))(picks, sources, BUDGET).examples:
        assert example.references == ()
        assert example.latents is not None
        assert example.states is not None
        assert example.target is not None
        (latent,), (states,) = example.latents.tensors, example.states.tensors
        assert torch.equal(latent, Means().compute([example.target])[0].half())
        assert torch.equal(states, DROPPED.bfloat16())


def test_other_sizes_are_refused_even_where_broken_samples_are_skipped_or_ignored_if_asked(chunks: Path) -> None:
    sources, pick = {"s": StreamingSource(chunks)}, [Pick("s", 0, 2)]
    other = TokenBudget(999, replace(POLICY, reference_pixels=(24 * 24,)))
    message = (
        r"latents of own.jsonl:3 were made with the resize .*\(1024,\)\), but this training has .*\(576,\)\)\n  use"
    )
    for broken in ("refuse", "skip"):
        with pytest.raises(Mismatch, match=message):
            Collate(broken=broken)(pick, sources, other)
    assert Collate(precomputed="ignore")(pick, sources, other).examples[0].latents is None


def test_images_stay_beside_what_was_computed(chunks: Path) -> None:
    for sample in (StreamingSource(chunks)[i] for i in range(7)):
        files = [chunks.parent.parent / f"{i}.png" for i in range(len(sample.references))]
        assert sample.task == "understanding" or [f.read_bytes() for f in files] == list(sample.references)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("latents.json", None, r"has \d latents, but its folder says .* made by None.* latents.json is missing"),
        ("latents.json", "{", "latents.json is no JSON"),
        ("latents.json", "\udcff", "latents.json is no UTF-8"),
        ("latents.json", "[]", r"latents.json is \[\], expected an object"),
        ("latents.json", '{"format": "omnigen2 latents 1", "stored_as": "float16", "codec": "x"}', "has no resize"),
        (
            "latents.json",
            '{"format": "other", "stored_as": "float16"}',
            'has format "other", expected one of omnigen2 latents 1',
        ),
        (
            "latents.json",
            '{"format": "omnigen2 latents 1", "stored_as": "int3"}',
            'stored_as "int3", expected one of float16',
        ),
        ("states.safetensors", None, r"has \d text states, but its .* made by None.* states.safetensors is missing"),
        ("states.safetensors", "{", "states.safetensors is damaged"),
        (
            "states.safetensors",
            {"format": "x"},
            "metadata {'format': 'x'}, expected format 'omnigen2 states 1'",
        ),
        ("states.safetensors", {"format": "omnigen2 states 1", "reader": "x"}, "is damaged .KeyError"),
    ],
)
def test_a_missing_or_damaged_account_is_refused(copied: Path, file: str, content: Any, message: str) -> None:
    (copied / file).unlink()
    if isinstance(content, str):
        (copied / file).write_text(content, errors="surrogateescape")
    elif content is not None:
        save_file({"dropped": DROPPED}, copied / file, content)
    with pytest.raises(DataError, match=message):
        StreamingSource(copied)[0]


@pytest.mark.parametrize(
    ("what", "stored", "other"),
    [
        ("latents", Stored((StoredTensor((1, 1, 1, 1), "float16", b"ab"),), LATENTS), replace(LATENTS, codec="other")),
        ("states", Stored((StoredTensor.of(torch.zeros(1, 3), "bfloat16"),), STATES), replace(STATES, reader="other")),
    ],
)
def test_records_and_accounts_that_do_not_belong_together_are_refused(
    what: str, stored: Stored[Any], other: Any, tmp_path: Path
) -> None:
    own, origin = replace(BARE, **{what: stored}), stored.origin
    for number, (sample, account) in enumerate([(BARE, origin), (own, None), (own, other)]):
        with (
            pytest.raises(DataError, match=rf"s:0 has {origin.kind} made by .*, this folder's are made by"),
            ChunkWriter(tmp_path / str(number), origins=Origins(**{what: account})) as writer,
        ):
            writer.add(sample, SampleSizes(1, (), (16, 16)))
    with pytest.raises(DataError, match=f"has 0 {origin.kind}, but its folder says that they were made by "):
        decode(encode(BARE), "it", Origins(**{what: origin}))
    wrong = {
        "latents": ("2 latents for 1 images", "1 latents for 0 images"),
        "states": ("not those of one", "no target"),
    }
    with pytest.raises(DataError, match=f"s:0 has .*{wrong[what][0]}"):
        replace(BARE, **{what: Stored(stored.tensors * 2, origin)})
    with pytest.raises(DataError, match=f"q:0 has .*{wrong[what][1]}"):
        replace(answer(0), **{what: stored})
    raw = encode(own)
    length = int.from_bytes(raw[8:12], "little")
    written = [{"shape": list(stored.tensors[0].shape), "stored_as": origin.number_type}]
    assert json.loads(raw[16 : 16 + length])[what] == written


def test_a_flipped_bit_of_a_latent_is_found(copied: Path) -> None:
    before = StreamingSource(copied)[0]
    assert before.latents is not None
    last = before.latents.tensors[-1].content
    for chunk in copied.glob("*.bin"):
        data = chunk.read_bytes()
        if last in data:
            place = data.index(last)
            chunk.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(DataError, match="damaged or truncated"):
        StreamingSource(copied)[0]
