"""Latents beside the images: what is stored comes back, and what does not belong together is refused."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.cli import main
from omnigen2.data import (
    ChunkWriter,
    Collate,
    ConditionDropout,
    DataError,
    ImageEncoder,
    LatentMismatch,
    LatentOrigin,
    OptimizeSettings,
    Origins,
    PixelRange,
    Sample,
    SampleLatents,
    SampleSizes,
    StoredTensor,
    StreamingSource,
    TokenBudget,
    open_data,
    optimize,
)
from omnigen2.data.batches.planner import Pick
from omnigen2.data.chunks.record import decode, encode
from omnigen2.data.samples.latents import LATENTS_FILE
from omnigen2.encoders import BlockDCT
from omnigen2.pictures import ResizePolicy
from tests.data.cases import POLICY, answer, picture, write_jsonl

ORIGIN = LatentOrigin("means", POLICY, "float16")
BUDGET = TokenBudget(999, POLICY)


class Means(ImageEncoder):
    """Means of blocks of 4 x 4, with a spread of their tenth part; black pictures become infinite."""

    def __init__(self, origin: LatentOrigin = ORIGIN) -> None:
        self.origin = origin

    def moments(self, images: Sequence[Tensor]) -> list[Tensor]:
        means = [torch.nn.functional.avg_pool2d(image, 4) for image in images]
        return [torch.stack((m, m / 10)) / (1 + m.min()) for m in means]


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six edits with up to three references, and a question."""
    folder = tmp_path_factory.mktemp("latents")
    for i in range(6):
        (folder / f"{i}.png").write_bytes(picture(40 + 16 * i, 24 + 8 * i, (20 + 40 * i, 90, 120)))
    (folder / "black.png").write_bytes(picture(16, 16, (0, 0, 0)))

    def edit(number: int, target: str) -> dict[str, object]:
        references = [f"{i}.png" for i in range(1 + number % 3)]
        return {"task_type": "edit", "instruction": "x", "input_images": references, "output_image": target}

    question = {"task_type": "understanding", "instruction": "x?", "input_images": ["1.png"], "answer": "y"}
    lines = [*(edit(i, f"{i}.png") for i in range(6)), question, edit(0, "black.png")]
    write_jsonl(folder / "own.jsonl", lines)
    settings = OptimizeSettings(chunk_bytes=8000, latents=Means())
    report = optimize(folder / "own.jsonl", folder / "out", settings, lambda advance: None)
    assert report.sources[0].written == 7
    assert "inf, which is not finite as float16; store float32" in report.bad[0].problem
    return folder / "out" / "own"


@pytest.fixture
def copied(chunks: Path, tmp_path: Path) -> Path:
    for file in chunks.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


numbers = st.floats(-6e4, 6e4, width=32)


@given(st.sampled_from(["float16", "float32"]), st.lists(numbers, min_size=12, max_size=12), st.integers(1, 2))
def test_moments_come_back_rounded_and_no_more(stored_as, values: list[float], count: int) -> None:
    moments = torch.tensor(values).reshape(count, 3, 1, -1)
    stored = StoredTensor.of(moments, stored_as)
    assert stored.tensor.shape == moments.shape
    assert stored.tensor.dtype == (torch.float16 if stored_as == "float16" else torch.float32)
    assert torch.equal(stored.tensor, moments.to(stored.tensor.dtype))
    latents = SampleLatents((stored,), replace(ORIGIN, stored_as=stored_as))
    sample = Sample("text_to_image", "x", target=b"x", latents=latents)
    assert decode(encode(sample), "it", Origins(latents.origin)) == sample


def test_numbers_that_a_type_cannot_hold_are_refused() -> None:
    for value, stored_as in ((7e4, "float16"), (float("nan"), "float32")):
        with pytest.raises(DataError, match=f"not finite as {stored_as}"):
            StoredTensor.of(torch.full((1, 1, 1, 1), value), stored_as)  # pyright: ignore[reportArgumentType]
    with pytest.raises(DataError, match=r"shape \(1, 1, 1, 2\) as float16 and 3 bytes, expected 4 bytes"):
        StoredTensor((1, 1, 1, 2), "float16", b"abc")
    for shape in ((3, 1, 1, 1), (1, 1, 3)):
        with pytest.raises(DataError, match=r"shape \(.*\), expected \(1 or 2 moments, channels, height, width\)"):
            SampleLatents((StoredTensor(shape, "float16", b"abcdef"),), ORIGIN)


def test_latents_are_those_of_the_pixels_that_a_batch_has(chunks: Path) -> None:
    source = StreamingSource(chunks)
    assert source.origins().latents == PixelRange(source).origins().latents == ORIGIN
    batch = Collate()([Pick("s", 0, i) for i in range(7)], {"s": source}, BUDGET)
    for example in batch.examples[:6]:
        assert example.latents is not None
        assert example.target is not None
        found = (*example.latents.references, example.latents.target)
        for stored, fresh in zip(found, Means().moments([*example.references, example.target]), strict=True):
            assert torch.equal(stored, fresh.half())
    assert [len(e.references) for e in batch.examples] == [1, 2, 3, 1, 2, 3, 1]
    assert batch.examples[6].latents is None
    moved = batch.to("meta").examples[1].latents
    assert moved is not None
    assert [moment.device.type for moment in (*moved.references, moved.target)] == ["meta"] * 3


def test_dropped_references_lose_their_latents(chunks: Path) -> None:
    batch = Collate(ConditionDropout(1, 1))([Pick("s", 0, 2)], {"s": StreamingSource(chunks)}, BUDGET)
    (example,) = batch.examples
    assert example.references == ()
    assert example.latents is not None
    assert example.target is not None
    assert example.latents.references == ()
    assert torch.equal(example.latents.target, Means().moments([example.target])[0].half())


def test_other_sizes_are_refused_even_where_broken_samples_are_skipped_or_ignored_if_asked(chunks: Path) -> None:
    sources, pick = {"s": StreamingSource(chunks)}, [Pick("s", 0, 2)]
    other = TokenBudget(999, replace(POLICY, reference_pixels=(24 * 24,)))
    message = r"own.jsonl:3 are of images resized by .*\(1024,\)\), but this training resizes by .*\(576,\)\)"
    for broken in ("refuse", "skip"):
        with pytest.raises(LatentMismatch, match=message):
            Collate(broken=broken)(pick, sources, other)
    assert Collate(precomputed="ignore")(pick, sources, other).examples[0].latents is None


def test_images_stay_beside_latents(chunks: Path) -> None:
    for sample in (StreamingSource(chunks)[i] for i in range(7)):
        files = [chunks.parent.parent / f"{i}.png" for i in range(len(sample.references))]
        assert sample.task == "understanding" or [f.read_bytes() for f in files] == list(sample.references)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"has \d latents, but its folder says that they were made by None.* latents.json is missing"),
        ("{", "latents.json is damaged"),
        ("[]", "latents.json is damaged"),
        ('{"format": "omnigen2 latents 1", "stored_as": "float16", "codec": "x"}', "is damaged .KeyError"),
        (
            '{"format": "other", "stored_as": "float16"}',
            "has format 'other' .*, expected 'omnigen2 latents 1' with float16 or float32",
        ),
        ('{"format": "omnigen2 latents 1", "stored_as": "int3"}', "with numbers as 'int3'"),
    ],
)
def test_a_missing_or_damaged_account_is_refused(copied: Path, content: str | None, message: str) -> None:
    (copied / LATENTS_FILE).unlink()
    if content is not None:
        (copied / LATENTS_FILE).write_text(content)
    with pytest.raises(DataError, match=message):
        StreamingSource(copied)[0]


def test_records_and_accounts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    bare = Sample("text_to_image", "x", target=picture(), key="s:0")
    stored = StoredTensor((1, 1, 1, 1), "float16", b"ab")
    own = replace(bare, latents=SampleLatents((stored,), ORIGIN))
    sizes = SampleSizes(1, (), (16, 16))
    for number, (sample, origin) in enumerate([(bare, ORIGIN), (own, None), (own, replace(ORIGIN, codec="other"))]):
        with (
            pytest.raises(DataError, match=r"s:0 has latents made by .*, this folder's are made by"),
            ChunkWriter(tmp_path / str(number), origins=Origins(origin)) as writer,
        ):
            writer.add(sample, sizes)
    with pytest.raises(DataError, match="has 0 latents, but its folder says that they were made by float16, made by"):
        decode(encode(bare), "it", Origins(ORIGIN))
    with pytest.raises(DataError, match="s:0 has 2 latents for 1 images"):
        replace(bare, latents=SampleLatents((stored, stored), ORIGIN))
    with pytest.raises(DataError, match="has 1 latents for 0 images"):
        replace(answer(0), latents=own.latents)
    raw = encode(own)
    length = int.from_bytes(raw[8:12], "little")
    assert json.loads(raw[16 : 16 + length])["latents"] == [{"shape": [1, 1, 1, 1], "stored_as": "float16"}]


def test_a_flipped_bit_of_a_latent_is_found(copied: Path) -> None:
    source = StreamingSource(copied)
    before = source[0]
    assert before.latents is not None
    last = before.latents.images[-1].content
    for chunk in copied.glob("*.bin"):
        data = chunk.read_bytes()
        if last in data:
            place = data.index(last)
            chunk.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    with pytest.raises(DataError, match="damaged or truncated"):
        StreamingSource(copied)[0]


def test_the_command_stores_latents_and_inspect_shows_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(picture(32, 64))
    record = {"task_type": "t2i", "instruction": "x", "output_image": "a.png"}
    write_jsonl(tmp_path / "x.jsonl", [record])
    BlockDCT(4).save(tmp_path / "vae")
    words = ["data", "optimize", str(tmp_path / "x.jsonl"), str(tmp_path / "out"), "--vae", str(tmp_path / "vae")]
    sizes = ["--max_pixels", "512", "--multiple", "8", "--reference-pixels", "512,256", "--latent_type", "float32"]
    assert main([*words, *sizes, "--device", "cpu"]) == 0
    line = "latents: float32, made by BlockDCT sha256:"
    assert line in capsys.readouterr().out
    (source,) = open_data(tmp_path / "out").sources.values()
    origin = source.origins().latents
    assert origin is not None
    assert origin.resize == ResizePolicy(512, 2048, 8, (512, 256))
    latents = source[0].latents
    assert latents is not None
    assert latents.images[0].tensor.shape == (1, 12, 4, 8)
    assert torch.isfinite(latents.images[0].tensor).all()
    assert main(["data", "inspect", str(tmp_path / "out"), "--out", str(tmp_path / "s.png")]) == 0
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max_pixels", "99"], "error: --max_pixels is for latents\n"),
        (["--vae", "{dir}/none"], "error: there is no folder {dir}/none"),
        (
            ["--vae", "{dir}", "--reference_pixels", "a,b"],
            "--reference_pixels/--reference-pixels: 'a,b', expected numbers such as",
        ),
    ],
)
def test_options_that_cannot_be_meant_are_refused(tmp_path: Path, capsys, words: list[str], message: str) -> None:
    words = [word.format(dir=tmp_path) for word in words]
    assert main(["data", "optimize", "spec.yml", str(tmp_path / "out"), *words]) == 2
    assert message.format(dir=tmp_path) in capsys.readouterr().err
