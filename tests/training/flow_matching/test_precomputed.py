"""Trainings from latents that were computed before: the same batches, and never those of another codec or size."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.data import Batch, ConditionDropout, DataError, Loaded, Mismatch, OptimizeSettings, TokenBudget
from omnigen2.encoders import BlockDCT, FluxVAE, HiddenStateBridge, LatentCodec, write_tiny_vae
from omnigen2.microworld.runs import RandomMicroVLM
from omnigen2.pictures import ResizePolicy
from omnigen2.training.flow_matching import BatchEncoder, CodecLatents, TextStates
from omnigen2.training.flow_matching.data_parts import DataPart, Reading
from omnigen2.training.flow_matching.encoded import EncodedBatch
from tests.data.cases import picture, t2i
from tests.training.flow_matching.cases import first_batches, image_data, write_chunks
from tests.training.flow_parts import CONFIG

POLICY = ResizePolicy(max_pixels=48 * 48, reference_pixels=(32 * 32, 16 * 16))
BUDGET = TokenBudget(500, POLICY)
TEXT = TextStates(RandomMicroVLM().load(HiddenStateBridge()), remembered=100)


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> FluxVAE:
    folder = tmp_path_factory.mktemp("model")
    write_tiny_vae(folder)
    return FluxVAE.from_folder(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, vae: FluxVAE) -> Path:
    """A spec of drawings and edits, and its chunks: without latents, with latents in both types, and of a DCT."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(6):
        (folder / f"{number}.png").write_bytes(picture(20 + 17 * number, 40, (40 * number, 99, 200 - 30 * number)))
    shown = {number: [f"{each}.png" for each in range(number)] for number in (1, 2, 3)}
    edits = [{"instruction": f"{n}", "input_images": names, "output_image": "5.png"} for n, names in shown.items()]
    encoders = {
        "plain": None,
        "float16": CodecLatents(vae, POLICY, "float16"),
        "float32": CodecLatents(vae, POLICY, "float32"),
        "dct": CodecLatents(BlockDCT(8), POLICY, "float32"),
    }
    settings = {name: OptimizeSettings(threads=2, latents=encoder) for name, encoder in encoders.items()}
    return write_chunks(folder, [t2i(f"{number}.png") for number in range(6)], edits, settings)


data, batches = (partial(function, budget=BUDGET) for function in (image_data, first_batches))


def encode(codec: LatentCodec, batch: Batch, seed: int | None = None) -> EncodedBatch:
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    config = replace(CONFIG, in_channels=codec.channels)
    return BatchEncoder(TEXT, codec, config)(batch, generator)


def both(codec: LatentCodec, fresh: Batch, stored: Batch, seed: int | None = None) -> list[tuple[Any, Any]]:
    one, other = encode(codec, fresh, seed), encode(codec, stored, seed)
    assert one.inputs.layout == other.inputs.layout
    assert one.tokens == other.tokens
    assert torch.equal(one.inputs.text, other.inputs.text)
    return [(one.data, other.data), (one.inputs.references, other.inputs.references)]


@settings(max_examples=8)
@given(
    seed=st.none() | st.integers(0, 99),
    dropped=st.sampled_from([0.0, 0.5, 1.0]),
    mixing=st.sampled_from(["batch", "sample"]),
)
def test_batches_from_stored_latents_equal_those_encoded_in_training(
    folder: Path, vae: FluxVAE, seed: int | None, dropped: float, mixing: str
) -> None:
    more = {"dropout": ConditionDropout(dropped), "mixing": mixing, "seed": seed or 0}
    plain = batches(folder / "plain", **more)
    for name, tolerance in (("float16", 2e-3), ("float32", 1e-6)):
        stored = batches(folder / name, **more)
        assert all(example.latents is not None for batch in stored for example in batch.examples)
        for one, other in zip(plain, stored, strict=True):
            for fresh, known in both(vae, one, other, seed):
                assert fresh.dtype == known.dtype
                torch.testing.assert_close(known, fresh, atol=tolerance, rtol=tolerance)


def test_stored_float32_means_are_bitwise_those_of_training(folder: Path, vae: FluxVAE) -> None:
    for codec, name in ((vae, "float32"), (BlockDCT(8), "dct")):
        for one, other in zip(batches(folder / "plain"), batches(folder / name), strict=True):
            assert all(torch.equal(fresh, known) for fresh, known in both(codec, one, other))


def test_pixels_are_not_encoded_again(folder: Path, vae: FluxVAE, monkeypatch: pytest.MonkeyPatch) -> None:
    (batch, *_), (plain, *_) = batches(folder / "float16"), batches(folder / "plain")

    def encoded(*_: Any) -> None:
        raise AssertionError("encoded")

    monkeypatch.setattr(vae, "encode", encoded)
    encode(vae, batch, 0)
    with pytest.raises(AssertionError, match="encoded"):
        encode(vae, plain, 0)


def test_samples_with_and_without_latents_share_a_batch(folder: Path, vae: FluxVAE) -> None:
    def mixed(second: str) -> list[Batch]:
        return batches([folder / "plain", folder / second], budget=TokenBudget(1500, POLICY))

    plain, stored = mixed("plain"), mixed("float32")
    assert any(len({example.latents is None for example in batch.examples}) == 2 for batch in stored)
    for one, other in zip(plain, stored, strict=True):
        for fresh, known in both(vae, one, other):
            torch.testing.assert_close(known, fresh, atol=0, rtol=0)


def test_latents_of_another_codec_are_refused_with_both_named_or_ignored_if_asked(
    folder: Path, vae: FluxVAE, tmp_path: Path
) -> None:
    write_tiny_vae(tmp_path, seed=1)
    other = FluxVAE.from_folder(tmp_path)
    (batch, *_) = batches(folder / "float16")
    with pytest.raises(
        Mismatch, match=f"were made with the codec {vae.identity()}, but this training .*{other.identity()}"
    ):
        encode(other, batch)
    reading = Reading(precomputed="ignore")
    (ignored, *_), (plain, *_) = batches(folder / "float16", reading=reading), batches(folder / "plain")
    assert all(torch.equal(fresh, known) for fresh, known in both(other, plain, ignored))


def test_other_sizes_are_refused_before_the_first_batch_or_ignored_if_asked(folder: Path) -> None:
    budget = TokenBudget(500, replace(POLICY, max_pixels=32 * 32))
    rare = {"common": DataPart(str(folder / "plain")), "rare": DataPart(str(folder / "float16"), 1e-9)}
    message = (
        r"latents of the data 'rare/draw' were .*max_pixels=2304.* training has .*max_pixels=1024.*\n"
        r"  use the same, or set `precomputed: ignore`"
    )
    with pytest.raises(DataError, match=message):
        data(folder, train=rare, budget=budget).train_dataloader()
    found = batches(folder / "float16", budget=budget, reading=Reading(precomputed="ignore"))
    assert not any(example.latents for batch in found for example in batch.examples)


def test_latents_of_other_shapes_are_refused(folder: Path, vae: FluxVAE) -> None:
    (batch, *_) = batches(folder / "float16")
    first = batch.examples[0]
    assert first.latents is not None
    *references, target = first.latents.tensors
    cut = Loaded((*references, target[:, :, :1]), first.latents.origin)
    wrong = replace(batch, examples=(replace(first, latents=cut), *batch.examples[1:]))
    with pytest.raises(
        ValueError, match=r"pixels has a stored latent of shape \(16, 1, \d+\), expected \(16, \d+, \d+\)"
    ):
        encode(vae, wrong)
