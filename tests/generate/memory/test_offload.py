"""Whatever rests while others work, the pictures are the same, bit for bit."""

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from omnigen2.adapters import LoRA, add_lora, save_lora
from omnigen2.dit import load_transformer
from omnigen2.encoders import Message
from omnigen2.generate import Generator, Offload, Resting, RoomError
from omnigen2.generate.memory.streamed import Streamed, streamable

CPU = torch.device("cpu")
OFFLOADS: tuple[Offload, ...] = ("idle", "stages", "blocks")
QUICK = {"height": 32, "width": 48, "steps": 2, "text_scale": 3.0, "image_scale": 2.0}


def drawn(generator: Generator) -> bytes:
    image = Image.new("RGB", (32, 32), (200, 30, 30))
    return generator("a cube", images=[image], seed=0, **QUICK).images[0].tobytes()


def adapter(model: Path, folder: Path) -> Path:
    """An adapter of a transformer, of which no number is zero."""
    torch.manual_seed(0)
    dit = load_transformer(model / "transformer", dtype=torch.float32)
    add_lora(dit, LoRA(rank=2))
    for name, parameter in dit.named_parameters():
        if ".lora_B." in name:
            nn.init.normal_(parameter, std=0.3)
    save_lora(dit, folder)
    return folder


@pytest.mark.parametrize(
    ("stored", "works_in", "offload"),
    [
        ("float32", "float32", "idle"),
        ("float32", "bfloat16", "blocks"),
        ("bfloat16", "float32", "stages"),
        ("bfloat16", "float32", "blocks"),
        ("bfloat16", "bfloat16", "stages"),
        ("bfloat16", "bfloat16", "blocks"),
    ],
)
def test_pictures_are_the_same(
    model: Path, half: Path, tmp_path: Path, stored: str, works_in: str, offload: Offload
) -> None:
    folder, dtype = half if stored == "bfloat16" else model, getattr(torch, works_in)
    plain, offloaded = (Generator.from_folder(folder, dtype=dtype, offload=way) for way in ("none", offload))
    expected = drawn(plain)
    assert drawn(offloaded) == expected
    lora = adapter(folder, tmp_path)
    for generator in (plain, offloaded):
        generator.load_lora(lora)
    adapted = drawn(plain)
    assert adapted != expected
    assert drawn(offloaded) == adapted


@pytest.mark.parametrize("cache", ["teacache", "first_block", "forecast"])
def test_caches_between_steps_find_the_weights_that_they_look_at(half: Path, cache: str) -> None:
    plain, offloaded = (Generator.from_folder(half, dtype=torch.float32, offload=way) for way in ("none", "blocks"))
    pictures = [
        one("a cube", height=32, width=48, steps=6, seed=0, cache=cache, cache_threshold=0.3).images[0].tobytes()
        for one in (plain, offloaded)
    ]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("offload", OFFLOADS)
def test_answers_are_the_same(half: Path, offload: Offload) -> None:
    words = [
        Generator.from_folder(half, dtype=torch.float32, offload=way).chat([Message("user", "hello")], max_new_tokens=5)
        for way in ("none", offload)
    ]
    assert words[0].text == words[1].text


@pytest.mark.parametrize("offload", ["stages", "blocks"])
def test_a_model_rests_also_when_its_work_fails(half: Path, offload: Offload) -> None:
    generator = Generator.from_folder(half, dtype=torch.float32, offload=offload)
    expected = drawn(generator)

    def stop(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generator("a cube", seed=0, progress=stop, **QUICK)
    with pytest.raises(ValueError, match="text tokens"):
        generator("a cube", negative_prompt="long " * 400, seed=0, **QUICK)
    for module in (generator.transformer, generator.encoders.vlm):
        weights = list(module.parameters())
        assert all(weight.isnan().all() for weight in weights)
        assert all(weight.untyped_storage().nbytes() <= 4 for weight in weights)
    assert drawn(generator) == expected


def test_files_of_several_formats_are_refused(half: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    copy = shutil.copytree(half, tmp_path / "copy")
    path = next(iter((copy / "mllm").glob("*.safetensors")))
    tensors = load_file(path)
    first = next(iter(tensors))
    save_file(tensors | {first: tensors[first].float()}, path, {"format": "pt"})
    with pytest.raises(RoomError, match=r"mllm has weights in bfloat16 and float32, which offload blocks cannot"):
        Generator.from_folder(copy, dtype=torch.float32, offload="blocks")


class Blocks(nn.Module):
    """Blocks that are called in a given order, by any way of calling."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.entry = nn.Linear(3, 3)
        self.blocks = nn.ModuleList(nn.Linear(3, 3) for _ in range(number))

    def forward(self, x: Tensor, order: list[int]) -> Tensor:
        x = self.entry(x)
        for number in order:
            x = self.blocks[number](input=x).tanh()
        return x


@given(
    number=st.integers(1, 5),
    orders=st.lists(st.lists(st.integers(0, 4), max_size=8), min_size=1, max_size=3),
    desks=st.integers(1, 3),
    dtype=st.sampled_from([torch.bfloat16, torch.float32]),
    fronts=st.booleans(),
)
def test_blocks_come_in_any_order(
    number: int, orders: list[list[int]], desks: int, dtype: torch.dtype, fronts: bool
) -> None:
    torch.manual_seed(0)
    model, x = Blocks(number).bfloat16(), torch.ones(2, 3, dtype=dtype)
    orders = [[one % number for one in order] for order in orders]
    model.to(dtype)
    expected = [model(x, order) for order in orders]
    model.bfloat16()
    model.entry.to(dtype)
    streamed = Streamed(list(model.blocks), CPU, dtype, desks, fronts)
    streamed.take_back()
    for order, values in zip(orders, expected, strict=True):
        assert torch.equal(model(x, order), values)
        assert len(streamed.desks) <= desks
    streamed.take_back()
    assert dtype == torch.bfloat16 or all(weight.isnan().all() for weight in model.blocks.parameters())


def test_all_blocks_but_the_first_of_the_longest_list_are_streamed() -> None:
    model = nn.ModuleDict({"few": Blocks(2), "many": Blocks(4)})
    few, many = model["few"].blocks, model["many"].blocks
    assert streamable(model) == [*few, *itertools.islice(many, 1, None)]
    assert streamable(nn.Linear(2, 2)) == []


def test_what_works_at_the_beginning_alone_rests_from_then_on(half: Path) -> None:
    generator = Generator.from_folder(half, dtype=torch.float32, offload="stages")
    dit, seen = generator.transformer, list[tuple[bool, bool]]()

    def look(*_: object) -> None:
        groups = (dit.text_refiner, dit.blocks)
        seen.append(tuple(all(bool(one.isnan().all()) for one in group.parameters()) for group in groups))

    generator("a cube", images=[Image.new("RGB", (32, 32))], seed=0, progress=look, **QUICK)
    assert seen == [(True, False)] * QUICK["steps"]


def test_awake_inside_awake_changes_nothing() -> None:
    torch.manual_seed(0)
    model, x = Blocks(3).bfloat16(), torch.ones(3)
    weight = model.entry.weight
    resting = Resting(model, CPU, torch.float32, blocks=True)
    assert weight is model.entry.weight
    assert (weight.dtype, weight.shape) == (torch.float32, (3, 3))
    with resting.awake():
        with resting.awake():
            expected = model(x, [0, 1, 2])
        assert torch.equal(model(x, [0, 1, 2]), expected)
        assert expected.isfinite().all()
    with pytest.raises(RuntimeError, match="single memory location"):
        weight.data.copy_(torch.ones(3, 3))
