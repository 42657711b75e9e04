"""Round trips through the released layout, and what broken folders say."""

import json
import re
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from omnigen2.dit import DiffusionTransformer, checkpoint
from omnigen2.dit.checkpoint import INDEX, CheckpointError, load_transformer, save_transformer
from omnigen2.layout import ImageSegment, Layout, TextSegment
from omnigen2.rope import LuminaPositions, OmniPositions, PositionScheme
from tests.parity.cases import FOLDER
from tests.strategies import SMALL, make_inputs, small_dit

SINGLE = "diffusion_pytorch_model.safetensors"
LAYOUT = Layout(((TextSegment(3), ImageSegment(1, 2, "reference"), ImageSegment(2, 2, "target")),))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shard_bytes", [10**9, 4000])
def test_round_trip_is_bit_exact(tmp_path: Path, dtype: torch.dtype, shard_bytes: int) -> None:
    dit = small_dit().to(dtype)
    written = save_transformer(dit, tmp_path, max_shard_bytes=shard_bytes)
    assert set(written) == set(tmp_path.iterdir())
    assert len({path.stat().st_mode for path in written}) == 1  # for whom the umask lets, as config.json
    assert (tmp_path / INDEX).exists() == (shard_bytes == 4000)
    loaded = load_transformer(tmp_path)
    assert loaded.config == dit.config
    for (name, weight), (other, expected) in zip(loaded.state_dict().items(), dit.state_dict().items(), strict=True):
        assert name == other
        assert weight.dtype == dtype
        torch.testing.assert_close(weight, expected, rtol=0, atol=0)
    x_t, t, inputs = make_inputs(LAYOUT, 0)
    torch.testing.assert_close(loaded(x_t, t, inputs), dit(x_t, t, inputs), rtol=0, atol=0)


def test_shards_together_hold_every_released_key(tmp_path: Path) -> None:
    save_transformer(small_dit(), tmp_path, max_shard_bytes=4000)
    index = json.loads((tmp_path / INDEX).read_text())
    shards = {path.name: load_file(path) for path in tmp_path.glob("*.safetensors")}
    assert len(shards) > 3
    sizes = [[tensor.nbytes for tensor in shards[name].values()] for name in sorted(shards)]
    assert all(sum(size) <= 4000 or len(size) == 1 for size in sizes)
    assert max(map(len, sizes)) > 1
    assert all(re.fullmatch(r"diffusion_pytorch_model-\d{5}-of-\d{5}\.safetensors", name) for name in shards)
    assert index["weight_map"] == {key: name for name, shard in shards.items() for key in shard}
    assert index["metadata"]["total_size"] == sum(t.nbytes for shard in shards.values() for t in shard.values())


def test_dtype_and_device_are_chosen_while_loading(tmp_path: Path) -> None:
    save_transformer(small_dit(), tmp_path)
    loaded = load_transformer(tmp_path, dtype=torch.bfloat16)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.bfloat16}
    assert all(weight.requires_grad for weight in loaded.parameters())


@pytest.mark.parametrize("take_away", ["rename", "delete"])
def test_weights_outlive_the_name_of_their_file(tmp_path: Path, take_away: str) -> None:
    dit = small_dit()
    save_transformer(dit, tmp_path)
    loaded = load_transformer(tmp_path)
    if take_away == "rename":
        save_transformer(small_dit(1), tmp_path, overwrite=True)
    else:
        (tmp_path / SINGLE).unlink()
    torch.testing.assert_close(loaded.state_dict(), dit.state_dict(), rtol=0, atol=0)


def test_what_is_written_into_weights_stays_in_the_process(tmp_path: Path) -> None:
    """A step of training changes neither the file nor another model that was loaded from it."""
    save_transformer(small_dit(), tmp_path)
    content = (tmp_path / SINGLE).read_bytes()
    trained, other = load_transformer(tmp_path), load_transformer(tmp_path)
    for weight in trained.parameters():
        weight.grad = torch.ones_like(weight)
    torch.optim.SGD(trained.parameters(), lr=1.0).step()
    torch.testing.assert_close(other.state_dict(), small_dit().state_dict(), rtol=0, atol=0)
    moved = {name: weight - 1 for name, weight in small_dit().state_dict().items()}
    torch.testing.assert_close(trained.state_dict(), moved, rtol=0, atol=0)
    assert (tmp_path / SINGLE).read_bytes() == content


@pytest.mark.parametrize(("dtype", "mapped"), [(None, True), (torch.bfloat16, True), (torch.float32, False)])
def test_weights_are_pages_of_the_file_where_its_type_is_wanted(
    tmp_path: Path, dtype: torch.dtype | None, mapped: bool
) -> None:
    save_transformer(small_dit().bfloat16(), tmp_path, max_shard_bytes=4000)
    model = load_transformer(tmp_path, dtype=dtype)
    pages = [
        (int(first, 16), int(last, 16))
        for line in Path("/proc/self/maps").read_text().splitlines()
        if str(tmp_path) in line
        for first, last in [line.split()[0].split("-")]
    ]
    inside = [any(first <= weight.data_ptr() < last for first, last in pages) for weight in model.parameters()]
    assert sum(inside) > len(inside) / 2 if mapped else not any(inside)  # all but what begins at an odd address
    sizes = [weight.untyped_storage().nbytes() == weight.nbytes for weight in model.parameters()]
    assert all(sizes)  # or a checkpoint of one parameter would hold the whole file


@pytest.mark.parametrize("blanks", [0, 1, 4, 8])
def test_a_header_of_any_length_is_read(tmp_path: Path, blanks: int) -> None:
    """Headers end in blanks, by which some programs make tensors begin at round addresses, and others do not; float32
    products of one row round otherwise at addresses that are no multiples of 16.
    """
    dit = small_dit()
    save_transformer(dit, tmp_path)
    content = (tmp_path / SINGLE).read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = content[8:end].rstrip() + b" " * blanks
    (tmp_path / SINGLE).write_bytes(len(header).to_bytes(8, "little") + header + content[end:])
    model = load_transformer(tmp_path)
    torch.testing.assert_close(model.state_dict(), dit.state_dict(), rtol=0, atol=0)
    x_t, t, inputs = make_inputs(LAYOUT, 0)
    torch.testing.assert_close(model(x_t, t, inputs), dit(x_t, t, inputs), rtol=0, atol=0)


def test_tensors_are_streamed_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a tensor is read from disk, the one before is gone: there is never a second copy of the model."""
    save_transformer(small_dit(), tmp_path, max_shard_bytes=4000)
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = 0
    read = checkpoint._tensor

    def watched(*arguments: Any) -> torch.Tensor:
        nonlocal most
        alive.add(tensor := read(*arguments))
        most = max(most, len(alive))
        return tensor

    monkeypatch.setattr(checkpoint, "_tensor", watched)
    load_transformer(tmp_path, dtype=torch.bfloat16)
    assert most <= 2


def test_the_released_configuration_is_understood(tmp_path: Path) -> None:
    """The released config.json, cut to one layer so that it fits here: sizes, keys and order of axes survive."""
    released = json.loads((FOLDER / "released_state_dict.json").read_text())["config"]
    small = released | {
        "hidden_size": 24,
        "num_layers": 1,
        "num_refiner_layers": 1,
        "num_attention_heads": 3,
        "num_kv_heads": 1,
        "axes_dim_rope": [4, 2, 2],
        "multiple_of": 16,
        "text_feat_dim": 10,
        "_class_name": "OmniGen2Transformer2DModel",
        "_diffusers_version": "0.33.1",
        "out_channels": None,
    }
    save_transformer(small_dit(), tmp_path)
    model_keys = load_file(tmp_path / SINGLE)
    kept = {key: value for key, value in model_keys.items() if not key.startswith("layers.1")}
    kept["x_embedder.weight"] = torch.zeros(24, 64)
    kept["ref_image_patch_embedder.weight"] = torch.zeros(24, 64)
    kept["norm_out.linear_2.weight"] = torch.zeros(64, 24)
    kept["norm_out.linear_2.bias"] = torch.zeros(64)
    save_file(kept, tmp_path / SINGLE)
    (tmp_path / "config.json").write_text(json.dumps(small))
    loaded = load_transformer(tmp_path)
    assert (loaded.config.in_channels, loaded.config.axes, loaded.config.max_references) == (16, (4, 2, 2), 5)
    assert loaded.positions == OmniPositions()
    save_transformer(loaded, tmp_path / "again")
    again = json.loads((tmp_path / "again" / "config.json").read_text())
    assert again == {key: value for key, value in small.items() if key != "_diffusers_version"}


@pytest.mark.parametrize(
    "positions", [OmniPositions(), OmniPositions("consecutive", "first"), LuminaPositions()], ids=str
)
def test_the_position_scheme_travels_with_the_weights(tmp_path: Path, positions: PositionScheme) -> None:
    save_transformer(DiffusionTransformer(SMALL, positions), tmp_path)
    assert load_transformer(tmp_path).positions == positions
    assert load_transformer(tmp_path, positions=OmniPositions()).positions == OmniPositions()


def test_existing_weights_are_not_replaced_unasked(tmp_path: Path) -> None:
    save_transformer(small_dit(), tmp_path, max_shard_bytes=4000)
    with pytest.raises(FileExistsError, match=r"has weights already \(diffusion.*overwrite=True"):
        save_transformer(small_dit(1), tmp_path)
    save_transformer(small_dit(1), tmp_path, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", SINGLE]
    torch.testing.assert_close(load_transformer(tmp_path).state_dict(), small_dit(1).state_dict(), rtol=0, atol=0)


def edit_json(path: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def config(**changes: object) -> Callable[[Path], None]:
    return lambda d: edit_json(d / "config.json", lambda content: content.update(changes))


def edit_tensors(path: Path, change: Callable[[dict], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def truncate(path: Path, keep: float) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


def first_shard(directory: Path) -> Path:
    return min(directory.glob("*.safetensors"))


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda d: truncate(d / SINGLE, 0.7), rf"{SINGLE} \(\d+ bytes\) is not a whole safetensors file"),
    "truncated header": (lambda d: truncate(d / SINGLE, 0.01), rf"{SINGLE} \(\d+ bytes\) is not a whole"),
    "empty": (lambda d: (d / SINGLE).write_bytes(b""), r"\(0 bytes\) is not a whole"),
    "missing key": (
        lambda d: edit_tensors(d / SINGLE, lambda t: t.pop("layers.1.attn.to_k.weight")),
        rf"{SINGLE} lacks layers.1.attn.to_k.weight",
    ),
    "unexpected key": (
        lambda d: edit_tensors(d / SINGLE, lambda t: t.update(extra=torch.zeros(1))),
        rf"{SINGLE} has unexpected extra",
    ),
    "wrong shape": (
        lambda d: edit_tensors(d / SINGLE, lambda t: t.update({"x_embedder.bias": torch.zeros(7)})),
        rf"{SINGLE}: x_embedder.bias has shape \(7,\), but config.json implies \(24,\); .*: take both from one",
    ),
    "no weights": (lambda d: (d / SINGLE).unlink(), f"neither {SINGLE} nor {INDEX}"),
    "no config": (lambda d: (d / "config.json").unlink(), "has no config.json"),
    "config not JSON": (lambda d: (d / "config.json").write_text("{"), "config.json is no JSON"),
    "config a list": (lambda d: (d / "config.json").write_text("[]"), r"config.json is \[\], expected an object"),
    "config key unknown": (config(hidden=3), r"config.json: unknown keys \['hidden'\]; expected"),
    "config key missing": (
        lambda d: edit_json(d / "config.json", lambda c: c.pop("text_feat_dim")),
        r"config.json: missing keys \['text_feat_dim'\]",
    ),
    "config size a text": (config(hidden_size="24"), r"config.json: hidden_size is '24', expected a whole number"),
    "config axes a number": (
        config(axes_dim_rope=4),
        r"config.json: axes_dim_rope is 4, expected a list of whole numbers",
    ),
    "config sizes do not fit": (
        config(hidden_size=25),
        r"config.json: hidden_size \(25\) must be num_heads \(3\) times .* which is 24",
    ),
    "other output channels": (config(out_channels=8), r"out_channels is 8, .* in_channels \(3\)"),
    "unknown scheme": (
        config(positions={"class": "Mine"}),
        'scheme "Mine" is not one of .*; is it of another program',
    ),
}
SHARD_FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated shard": (lambda d: truncate(first_shard(d), 0.5), r"00001-of-\d+.safetensors \(\d+ bytes\)"),
    "lost shard": (
        lambda d: first_shard(d).unlink(),
        r"index.json names diffusion_pytorch_model-00001-of-\d+.safetensors, which is not there",
    ),
    "key moved out of its shard": (
        lambda d: edit_tensors(first_shard(d), lambda t: t.pop("x_embedder.bias")),
        r"00001-of-\d+.safetensors lacks x_embedder.bias",
    ),
    "index lacks a key": (
        lambda d: edit_json(d / INDEX, lambda c: c["weight_map"].pop("x_embedder.bias")),
        "index.json lacks x_embedder.bias",
    ),
    "index has no map": (lambda d: (d / INDEX).write_text("{}"), 'has no "weight_map"'),
}


@pytest.mark.parametrize("fault", [*FAULTS, *SHARD_FAULTS])
def test_a_broken_folder_says_what_is_wrong(tmp_path: Path, fault: str) -> None:
    save_transformer(small_dit(), tmp_path, max_shard_bytes=4000 if fault in SHARD_FAULTS else 10**9)
    damage, message = (FAULTS | SHARD_FAULTS)[fault]
    damage(tmp_path)
    with pytest.raises(CheckpointError, match=message) as error:
        load_transformer(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_missing_folder_and_a_senseless_shard_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder .*nowhere; expected one with config.json"):
        load_transformer(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="positive, got 0"):
        save_transformer(small_dit(), tmp_path, max_shard_bytes=0)
