"""The learned `<|img|>`: only its two rows move."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from omnigen2.encoders import ImageToken, QwenEncoder, drawing
from omnigen2.errors import UserError


@pytest.fixture(params=["mllm", "mllm_untied"], ids=["tied", "untied"])
def encoder(request: pytest.FixtureRequest, folder: Path) -> QwenEncoder:
    """A model of its own for each test."""
    return QwenEncoder.from_folder(folder / request.param, folder / "processor", dtype=torch.float32)


def logits(encoder: QwenEncoder) -> Tensor:
    """Of an answer that ends with the image token."""
    batch = encoder.tokenizer([drawing("draw a cube")], answers=["ok"])
    token = torch.tensor([[encoder.tokenizer.image_token_id]])
    return cast(Any, encoder.model)(torch.cat((batch.ids, token), dim=1)).logits


def train(encoder: QwenEncoder, parameters: Any, steps: int = 3) -> None:
    """Steps with weight decay towards saying `<|img|>`, and away from it after it was said."""
    optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        chances = logits(encoder).log_softmax(-1)[0, -2:, encoder.tokenizer.image_token_id]
        (chances[1] - chances[0]).backward()
        optimizer.step()


def test_everything_else_stays_bit_identical(encoder: QwenEncoder) -> None:
    token_id = encoder.tokenizer.image_token_id
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    token = ImageToken.of(encoder.model, token_id)
    start = {name: row.detach().clone() for name, row in token.named_parameters()}
    token.attach(encoder.model)
    train(encoder, [*token.parameters(), *encoder.parameters()])
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())
    assert all(not torch.equal(start[name], row) for name, row in token.named_parameters())
    assert len(start) == (1 if token.tied else 2)
    trained = logits(encoder)
    token.detach()
    token.merge(encoder.model)
    torch.testing.assert_close(logits(encoder), trained, rtol=1e-4, atol=1e-5)
    for name, tensor in encoder.state_dict().items():
        rows = torch.arange(len(tensor)) != token_id if tensor.shape == (264, 64) else slice(None)
        assert torch.equal(tensor[rows], before[name][rows]), name
        assert not torch.equal(tensor, before[name]) or tensor.shape != (264, 64)


def test_attaching_changes_nothing_before_training(encoder: QwenEncoder) -> None:
    before = logits(encoder)
    token = ImageToken.of(encoder.model, encoder.tokenizer.image_token_id)
    token.attach(encoder.model)
    torch.testing.assert_close(logits(encoder), before, rtol=1e-5, atol=1e-5)
    token.detach()
    assert torch.equal(logits(encoder), before)


def test_training_makes_the_model_want_to_draw(encoder: QwenEncoder) -> None:
    token = ImageToken.of(encoder.model, encoder.tokenizer.image_token_id, initial="mean")
    token.attach(encoder.model)
    before = logits(encoder).softmax(-1)[0, -2, token.token_id]
    train(encoder, token.parameters())
    assert logits(encoder).softmax(-1)[0, -2, token.token_id] > 2 * before


def test_rows_survive_saving(encoder: QwenEncoder, tmp_path: Path) -> None:
    token = ImageToken.of(encoder.model, encoder.tokenizer.image_token_id)
    nn.init.normal_(token.input)
    token.save(tmp_path / "new" / "token.safetensors")
    (tmp_path / "plain").touch()
    assert (tmp_path / "new" / "token.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode
    loaded = ImageToken.load(tmp_path / "new" / "token.safetensors")
    assert (loaded.token_id, loaded.tied) == (token.token_id, token.tied)
    assert torch.equal(loaded.input, token.input)
    assert torch.equal(loaded.output, token.output)


def test_starting_rows(encoder: QwenEncoder) -> None:
    table = cast(Any, encoder.model).get_input_embeddings().weight
    assert torch.equal(ImageToken.of(encoder.model, 5).input, table[5])
    torch.testing.assert_close(ImageToken.of(encoder.model, 5, initial="mean").input.data, table.mean(0))
    with pytest.raises(ValueError, match="token id 264 has no row in an embedding table of 264"):
        ImageToken.of(encoder.model, 264)


def test_wrong_models_and_files(encoder: QwenEncoder, tmp_path: Path) -> None:
    token = ImageToken.of(encoder.model, 5)
    token.attach(encoder.model)
    with pytest.raises(ValueError, match="attached to a model already; detach"):
        token.attach(encoder.model)
    other = ImageToken(5, 64, tied=not token.tied)
    with pytest.raises(ValueError, match=f"64 channels and tied={other.tied}.*tied={token.tied}. Train a token"):
        other.attach(encoder.model)
    save_file({"x": torch.zeros(1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"x.safetensors has tensors \['x'\].*expected a saved ImageToken"):
        ImageToken.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("rows", "metadata", "message"),
    [
        ({"input": torch.zeros(4)}, {"token_id": "five"}, "expected a saved ImageToken"),
        ({"input": torch.zeros(4)}, {"token_id": "-5"}, "expected a saved ImageToken"),
        ({"input": torch.zeros(4), "output": torch.zeros(5)}, {"token_id": "5"}, "expected a saved ImageToken"),
        ({"input": torch.zeros(4, 1)}, {"token_id": "5"}, "expected a saved ImageToken"),
        ({"input": torch.zeros(4, dtype=torch.int8)}, {"token_id": "5"}, "input has the type I8"),
    ],
)
def test_other_rows_are_refused(
    tmp_path: Path, rows: dict[str, torch.Tensor], metadata: dict[str, str], message: str
) -> None:
    path = tmp_path / "token.safetensors"
    save_file(rows, path, metadata)
    with pytest.raises(UserError, match=message):
        ImageToken.load(path)
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match="is not a whole safetensors file"):
        ImageToken.load(path)
