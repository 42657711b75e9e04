"""Trainings from text states that were computed before: the same batches, and never those of another reading."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from omnigen2.data import ConditionDropout, DataError, Example, Mismatch, OptimizeSettings, TokenBudget
from omnigen2.encoders import HiddenStateBridge, PromptRules, QwenEncoder
from omnigen2.microworld.runs import RandomMicroVLM
from omnigen2.pictures import ResizePolicy
from omnigen2.training.flow_matching import TextStates, VLMStates
from omnigen2.training.flow_matching.data_module import Validation
from omnigen2.training.flow_matching.data_parts import DataPart, Reading
from omnigen2.training.parts import VLMFolder, save_vlm, vlm_identity
from tests.data.cases import picture, t2i
from tests.training.flow_matching.cases import first_batches, image_data, write_chunks
from tests.training.flow_parts import module, trainer

POLICY = ResizePolicy(max_pixels=16 * 16, multiple=4, reference_pixels=(8 * 8,))
BUDGET = TokenBudget(1500, POLICY)
RULES = PromptRules(max_tokens=16, overflow="cut")
WORDS = ["a", "red", "square", "left", "of", "two", "blue", "crosses", "and", "a", "green", "triangle", "above", "it"]


def reader(seed: int = 0, template: str = "keep", rules: PromptRules = RULES, remembered: int = 0) -> TextStates:
    bridge = HiddenStateBridge(template=template)  # pyright: ignore[reportArgumentType]
    return TextStates(RandomMicroVLM(seed).load(bridge, rules), remembered)


EDITS = ("make it blue", "a red cross")
READERS = {"keep": reader(), "drop": reader(template="drop")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawings and edits, some with words beyond the limit, as chunks: without states, with them, without template."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "a.png").write_bytes(picture(16, 12))
    texts = [" ".join(WORDS[: 1 + 2 * number]) for number in range(7)]
    draw = [t2i("a.png") | {"instruction": text} for text in texts]
    edits = [{"instruction": text, "input_images": ["a.png"], "output_image": "a.png"} for text in EDITS]
    encoders = {"plain": None} | {name: VLMStates(text) for name, text in READERS.items()}
    settings = {name: OptimizeSettings(threads=2, states=encoder) for name, encoder in encoders.items()}
    return write_chunks(folder, draw, edits, settings)


data, batches = (partial(function, steps=3, budget=BUDGET) for function in (image_data, first_batches))


def alone(text: TextStates, examples: tuple[Example, ...]) -> Tensor:
    return torch.cat([text.of([example]).states for example in examples])


@settings(max_examples=6)
@given(
    seed=st.integers(0, 99),
    dropped=st.sampled_from([0.0, 0.5, 1.0]),
    mixing=st.sampled_from(["batch", "sample"]),
    template=st.sampled_from(["keep", "drop"]),
    remembered=st.sampled_from([0, 3]),
)
def test_stored_states_are_bitwise_those_of_texts_read_alone(
    folder: Path, seed: int, dropped: float, mixing: str, template: str, remembered: int
) -> None:
    more = {"dropout": ConditionDropout(dropped), "mixing": mixing, "seed": seed}
    text = reader(template=template, remembered=remembered)
    for plain, stored in zip(batches(folder / "plain", **more), batches(folder / template, **more), strict=True):
        assert all(example.states is not None for example in stored.examples)
        assert plain.instructions == stored.instructions
        assert len(plain) > 1
        known, fresh = text.of(stored.examples), text.of(plain.examples)
        assert known.borders == fresh.borders
        assert known.states.dtype == fresh.states.dtype
        assert torch.equal(known.states, alone(READERS[template], plain.examples))
        # in a batch of several, padding changes the last bits of what is read
        torch.testing.assert_close(known.states, fresh.states, atol=1e-5, rtol=1e-4)


def test_a_training_from_stored_states_is_bitwise_the_same(folder: Path, tmp_path: Path) -> None:
    def trained(name: str) -> dict[str, Tensor]:
        model = module()
        model.text_part = replace(model.text_part, bridge=HiddenStateBridge(), rules=RULES, remembered=0)
        alone = replace(BUDGET, max_samples=1)
        run = trainer(tmp_path, 3)
        run.fit(model, datamodule=data(folder / name, budget=alone, dropout=ConditionDropout(0.5)))
        return {"loss": run.callback_metrics["train/loss"], **model.state_dict()}

    plain, stored = trained("plain"), trained("keep")
    assert plain.keys() == stored.keys()
    assert all(torch.equal(plain[name], stored[name]) for name in plain)


def test_texts_are_not_read_again_and_the_model_stays_where_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: Any) -> None:
        raise AssertionError("read")

    dropout = ConditionDropout(0.5)
    stored, plain = (batches(folder / name, dropout=dropout)[0] for name in ("keep", "plain"))
    assert {example.prompt_dropped for example in stored.examples} == {False, True}
    encoder = RandomMicroVLM().load(HiddenStateBridge(), RULES)
    text = TextStates(encoder, device=torch.device("meta"))
    monkeypatch.setattr(QwenEncoder, "forward", read)
    assert text.of(stored.to("meta").examples).states.device.type == "meta"
    assert encoder.device.type == "cpu"
    assert text.encoder.device.type == "meta"
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # which no meta device has
    with pytest.raises(AssertionError, match="read"):
        text.of(plain.examples)


def test_texts_are_read_in_the_dtype_of_the_model_whatever_the_precision_of_the_training(folder: Path) -> None:
    examples = batches(folder / "plain")[0].examples
    text = TextStates(RandomMicroVLM().load(HiddenStateBridge(), RULES))
    with torch.autocast("cpu"):
        inside = text.of(examples).states
    assert torch.equal(inside, text.of(examples).states)


def test_samples_with_and_without_states_share_a_batch_in_their_order(folder: Path) -> None:
    mixed = batches([folder / "plain", folder / "keep"])
    assert any(len({example.states is None for example in batch.examples}) == 2 for batch in mixed)
    for batch in mixed:
        bare = tuple(replace(example, states=None) for example in batch.examples)
        torch.testing.assert_close(
            READERS["keep"].of(batch.examples).states, alone(READERS["keep"], bare), atol=1e-5, rtol=1e-4
        )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            partial(reader, 1),
            r"states of \w+.jsonl:\d+ were made with the reader Qwen\S+ in float32 sha256:\w+, but this training has "
            r"Qwen\S+ in float32 sha256:\w+\n  use the same, .*precomputed: ignore.*write the chunks again",
        ),
        (partial(reader, template="drop"), "template='keep'.*, but this training .*template='drop'"),
        (partial(reader, rules=replace(RULES, max_tokens=15)), "max_tokens=16.*, but this training .*max_tokens=15"),
        (partial(reader, rules=replace(RULES, sees="text_and_images")), "sees='text'.*sees='text_and_images'"),
    ],
)
def test_states_of_another_reading_are_refused_with_both_named(
    folder: Path, other: Callable[[], TextStates], message: str
) -> None:
    (batch, *_) = batches(folder / "keep")
    with pytest.raises(Mismatch, match=message):
        other().of(batch.examples)


@pytest.mark.parametrize("held_out", [False, True])
def test_a_rare_source_of_another_reading_is_refused_at_the_first_step(
    folder: Path, tmp_path: Path, held_out: bool
) -> None:
    model = module()
    model.text_part = replace(model.text_part, bridge=HiddenStateBridge(), rules=replace(RULES, max_tokens=15))
    rare = {"rare": DataPart(str(folder / "keep"), weight=1e-9)}
    train = {"own": DataPart(str(folder / "plain"))} | ({} if held_out else rare)
    mixed = image_data(folder, train=train, budget=BUDGET, validation=Validation(rare) if held_out else None)
    with pytest.raises(Mismatch, match=r"states of the data 'rare/draw' were made .*max_tokens=16.*max_tokens=15"):
        trainer(tmp_path, 3).fit(model, datamodule=mixed)


def test_another_system_prompt_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (batch, *_) = batches(folder / "keep")
    monkeypatch.setattr("omnigen2.training.flow_matching.text_states.SYSTEM_PROMPT_DROPPED", "You draw.")
    with pytest.raises(Mismatch, match=r"template sha256:\w+, but .* template sha256:"):
        reader().of(batch.examples)


def test_stored_states_are_ignored_if_asked(folder: Path) -> None:
    (ignored, *_), (plain, *_) = (
        batches(folder / "keep", reading=Reading(precomputed="ignore")),
        batches(folder / "plain"),
    )
    other = reader(1)
    assert torch.equal(other.of(ignored.examples).states, other.of(plain.examples).states)


def test_states_of_a_model_that_sees_pictures_are_not_stored() -> None:
    with pytest.raises(DataError, match="cannot be stored of a model that is shown the references"):
        VLMStates(reader(rules=PromptRules(sees="text_and_images")))


def test_the_identity_tells_models_apart_and_not_their_folders(tmp_path: Path) -> None:
    encoder = RandomMicroVLM().load()
    save_vlm(encoder, tmp_path)
    assert vlm_identity(encoder) == vlm_identity(VLMFolder(str(tmp_path)).load())
    heads = RandomMicroVLM().load()
    heads.model.config.text_config.rms_norm_eps *= 2  # pyright: ignore
    words = RandomMicroVLM().load()
    words.tokenizer.tokenizer.add_tokens(["zebra"])
    others = [RandomMicroVLM(1).load(), VLMFolder(str(tmp_path), "bfloat16").load(), heads, words]
    assert len({vlm_identity(each) for each in (encoder, *others)}) == 5
