"""Qwen2.5-VL: positions, padding, generation, loading. The model is random and tiny; its laws are not."""

import json
import shutil
import socket
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from PIL import Image

from omnigen2.encoders import ChatTokenizer, HiddenStateBridge, PromptBatch, QwenEncoder, TokenRole
from omnigen2.encoders.chat import drawing
from omnigen2.encoders.qwen import Answer, load_tokenizer
from omnigen2.files import WeightsError

PICTURE = Image.effect_mandelbrot((140, 84), (-3, -2.5, 2, 2.5), 20).convert("RGB")
MIXED = [drawing("what is this?", [PICTURE, PICTURE.resize((60, 60))]), drawing("x" * 30), drawing("", [PICTURE])]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def raw(encoder: QwenEncoder, batch: PromptBatch, **inputs: Any) -> torch.Tensor:
    """Last hidden states by transformers' own path."""
    model = cast(Any, encoder.model).model
    pictures = {"pixel_values": batch.pixel_values, "image_grid_thw": batch.grids}
    return model(batch.ids, attention_mask=batch.attention_mask, use_cache=False, **pictures, **inputs)[0]


def test_states_are_those_of_transformers_with_token_types(encoder: QwenEncoder) -> None:
    """Without the types it falls back to one-dimensional positions, silently."""
    batch, bridge = encoder.tokenizer(MIXED), HiddenStateBridge()
    packed, expected = encoder(batch), bridge(raw(encoder, batch, mm_token_type_ids=batch.image_mask), batch.roles)
    assert packed.borders == expected.borders
    torch.testing.assert_close(packed.states, expected.states, **CLOSE)
    wrong = bridge(raw(encoder, batch), batch.roles).states
    assert (packed.states - wrong).abs().max() > 1e-3


def test_positions_are_computed_on_the_host(encoder: QwenEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the model computed positions of its own, on the device")

    monkeypatch.setattr(cast(Any, encoder.model).model, "compute_3d_position_ids", refuse)
    encoder(encoder.tokenizer(MIXED))
    assert encoder.positions(encoder.tokenizer(MIXED).to("meta")).device.type == "cpu"


def test_settings_of_sampling_that_are_not_known_are_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "mllm", tmp_path / "mllm")
    (tmp_path / "mllm" / "generation_config.json").write_text('{"repetion_penalty": 1.1}')
    with pytest.raises(WeightsError, match=r"generation_config\.json has the key repetion_penalty"):
        QwenEncoder.from_folder(tmp_path / "mllm", folder / "processor", dtype=torch.float32)


def test_nothing_is_remembered_between_calls(encoder: QwenEncoder) -> None:
    text, images = encoder.tokenizer([drawing("a"), drawing("bc")]), encoder.tokenizer(MIXED)
    before = encoder(text).states
    cast(Any, encoder.model).model.rope_deltas = torch.full((3, 1), -7)
    assert torch.equal(encoder(text).states, before)
    seen = encoder(images).states
    encoder.answer(MIXED[:1], max_new_tokens=2)
    assert torch.equal(encoder(text).states, before)
    assert torch.equal(encoder(images).states, seen)


@pytest.mark.parametrize("bridge", [HiddenStateBridge(), HiddenStateBridge(tokens="all", template="drop")])
def test_left_and_right_padding_give_the_same_packed_states(encoder: QwenEncoder, bridge: HiddenStateBridge) -> None:
    other = QwenEncoder(encoder.model, encoder.tokenizer, bridge)
    left, right = (other(encoder.tokenizer(MIXED, padding=side)) for side in ("left", "right"))
    assert left.borders == right.borders
    torch.testing.assert_close(left.states, right.states, **CLOSE)


def test_a_sample_does_not_depend_on_its_batch(encoder: QwenEncoder) -> None:
    alone = torch.cat([encoder(encoder.tokenizer([talk])).states for talk in MIXED])
    torch.testing.assert_close(encoder(encoder.tokenizer(MIXED)).states, alone, **CLOSE)


def test_image_states_are_seen_but_not_passed_on(encoder: QwenEncoder) -> None:
    batch = encoder.tokenizer([drawing("same", [PICTURE])])
    packed = encoder(batch)
    assert packed.borders.total == int((batch.roles != TokenRole.IMAGE).sum())
    other = encoder(encoder.tokenizer([drawing("same", [PICTURE.rotate(180)])]))
    assert (packed.states - other.states).abs().max() > 1e-4, "the text states must have seen the picture"


def test_the_encoder_is_frozen(folder: Path, encoder: QwenEncoder) -> None:
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not encoder(encoder.tokenizer.drawings(["x"])).states.requires_grad
    assert not encoder.train().training
    other = QwenEncoder.from_folder(folder / "mllm", folder / "processor", dtype=torch.float32)
    other.model.requires_grad_(True)
    assert other.train().training
    assert other(other.tokenizer.drawings(["x"])).states.requires_grad


def test_states_come_in_the_dtype_of_the_model(folder: Path) -> None:
    encoder = QwenEncoder.from_folder(folder / "mllm", folder / "processor")
    assert encoder(encoder.tokenizer(MIXED)).states.dtype == torch.bfloat16
    assert encoder.dim == 64
    with pytest.raises(ValueError, match=r"Qwen2.5-VL cannot run in torch.float16; use torch.bfloat16 or"):
        QwenEncoder.from_folder(folder / "mllm", folder / "processor", dtype=torch.float16)


def speak(encoder: QwenEncoder, monkeypatch: pytest.MonkeyPatch, *rows: list[int]) -> None:
    """Let the model say these tokens."""

    def generate(input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
        return torch.cat((input_ids, torch.tensor(rows)), dim=1)

    monkeypatch.setattr(encoder.model, "generate", generate)


def test_the_wish_to_draw_is_noticed(encoder: QwenEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = encoder.tokenizer
    end, draw, pad = tokenizer.end_id, tokenizer.image_token_id, tokenizer.pad_id
    say = tokenizer.tokenizer("Hi!")["input_ids"]
    speak(encoder, monkeypatch, [*say, draw, pad], [*say, end, draw], [draw, *say, 0], [*say, 65, 66])
    answers = encoder.answer([drawing("x")] * 4)
    text = tokenizer.tokenizer.decode([*say, 65, 66])
    assert answers == [Answer("Hi!", "image"), Answer("Hi!", "end"), Answer("", "image"), Answer(text, "length")]


def favour(encoder: QwenEncoder, token: int) -> None:
    """Make a token the likeliest everywhere, whatever the sign of the hidden state."""
    head = cast(Any, encoder.model).lm_head
    head.register_forward_hook(lambda module, inputs, output: output.index_fill(-1, torch.tensor([token]), 99.0))


def test_generation_stops_at_the_image_token(folder: Path) -> None:
    encoder = QwenEncoder.from_folder(folder / "mllm", folder / "processor", dtype=torch.float32)
    favour(encoder, encoder.tokenizer.image_token_id)
    assert encoder.answer(MIXED, max_new_tokens=4) == [Answer("", "image")] * 3


def test_batched_answers_are_those_of_each_alone(encoder: QwenEncoder) -> None:
    together = encoder.answer(MIXED, max_new_tokens=6)
    assert together == [encoder.answer([talk], max_new_tokens=6)[0] for talk in MIXED]


def test_sampling_follows_the_seed(encoder: QwenEncoder) -> None:
    def sample(seed: int) -> list[Answer]:
        torch.manual_seed(seed)
        return encoder.answer([drawing("x")] * 2, max_new_tokens=12, temperature=5.0)

    assert sample(1) == sample(1)
    assert sample(1) != sample(2)
    with pytest.raises(ValueError, match=r"max_new_tokens 0 and temperature -1\.0"):
        encoder.answer([drawing("x")], max_new_tokens=0, temperature=-1.0)


def test_the_table_grows_only_if_needed(folder: Path) -> None:
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

    def rows(encoder: QwenEncoder) -> torch.Tensor:
        return cast(Any, encoder.model).get_input_embeddings().weight

    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder / "mllm", local_files_only=True)
    before = rows(QwenEncoder(model, load_tokenizer(folder / "processor"))).clone()
    assert before.shape[0] == 264
    larger = AutoTokenizer.from_pretrained(folder / "processor", local_files_only=True)
    larger.add_tokens(["<|more|>"], special_tokens=True)
    grown = rows(QwenEncoder(model, ChatTokenizer(larger)))
    assert grown.shape[0] == 265
    assert torch.equal(grown[:264], before)


def test_loading_never_reaches_for_the_network(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    QwenEncoder.from_folder(folder / "mllm", folder / "processor")
    for mllm, processor in ((tmp_path / "no", folder / "processor"), (folder / "mllm", "org/name")):
        with pytest.raises(FileNotFoundError, match=r"there is no folder .*(no|org/name); give the folder"):
            QwenEncoder.from_folder(mllm, processor)
    with pytest.raises(FileNotFoundError, match=r"has no config.json"):
        QwenEncoder.from_folder(tmp_path, folder / "processor")


def test_broken_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    mllm = shutil.copytree(folder / "mllm", tmp_path / "mllm")
    weights = mllm / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    for refused in (r"model.safetensors \(1000 bytes\) is not a whole", "neither model.safetensors nor .*index.json"):
        with pytest.raises(WeightsError, match=refused):
            QwenEncoder.from_folder(mllm, folder / "processor")
        weights.unlink(missing_ok=True)
    processor = shutil.copytree(folder / "processor", tmp_path / "processor")
    (processor / "tokenizer.json").unlink()
    with pytest.raises(WeightsError, match=r"processor has neither tokenizer.json nor vocab.json nor merges.txt"):
        load_tokenizer(processor)


@pytest.mark.parametrize("kind", ["Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast"])
def test_folders_without_image_settings_and_with_older_ones_are_read(folder: Path, tmp_path: Path, kind: str) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / "processor" / name).read_bytes())
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.image_processor is None
    assert torch.equal(tokenizer.drawings(["x"]).ids, load_tokenizer(folder / "processor").drawings(["x"]).ids)
    settings = {"image_processor_type": kind, "processor_class": "Qwen2_5_VLProcessor", "merge_size": 2}
    settings |= {"min_pixels": 56 * 56, "max_pixels": 4 * 28 * 28, "patch_size": 14, "temporal_patch_size": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    batch = load_tokenizer(tmp_path)([drawing("x", [PICTURE.resize((512, 512))])])
    assert batch.grids is not None
    assert batch.grids.tolist() == [[1, 4, 4]]
    assert batch.image_mask.sum() == 4
