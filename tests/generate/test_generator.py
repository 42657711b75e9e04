"""The whole pipeline on a tiny model: every task, batches, chat, memory, refusals."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from omnigen2.encoders import Message, PromptRules
from omnigen2.encoders.qwen import Answer
from omnigen2.errors import UserError
from omnigen2.flow import IdentityShift, SquareRootShift
from omnigen2.generate import Generator, ModelFolder, Picture, Request, Sampling
from omnigen2.generate.errors import GenerateError
from omnigen2.generate.tiny import tiny_transformer
from omnigen2.pictures import ImageFileError

QUICK: dict[str, Any] = {"steps": 2, "height": 32, "width": 48}


def difference(first: Image.Image, second: Image.Image) -> int:
    """Largest difference in grey levels."""
    return int(np.abs(np.asarray(first).astype(int) - np.asarray(second).astype(int)).max())


@pytest.mark.parametrize("references", [0, 1, 3, 5])
def test_every_number_of_references_gives_a_picture(generator: Generator, photos: list[Path], references: int) -> None:
    result = generator("a red cube", images=photos[:references], image_scale=2.0, seed=5, **QUICK)
    (picture,) = result.pictures
    assert picture.image.size == (48, 32)
    assert picture.image.mode == "RGB"
    assert picture.request == Request(
        prompt="a red cube", images=tuple(photos[:references]), height=32, width=48, seed=5
    )
    assert picture.sampling == Sampling(steps=2, image_scale=2.0)


def test_the_prompt_the_references_and_the_scales_matter(generator: Generator, photos: list[Path]) -> None:
    base = generator("a", images=photos[:2], seed=0, **QUICK).images[0]
    for changed in (
        generator("b", images=photos[:2], seed=0, **QUICK),
        generator("a", images=photos[1::-1], seed=0, **QUICK),
        generator("a", images=photos[:2], seed=1, **QUICK),
        generator("a", images=photos[:2], seed=0, negative_prompt="x", **QUICK),
        generator("a", images=photos[:2], seed=0, image_scale=2.0, **QUICK),
        generator("a", images=photos[:2], seed=0, text_scale=1.0, **QUICK),
        generator("a", images=photos[:2], seed=0, guidance_interval=(0.0, 0.1), **QUICK),
    ):
        assert difference(base, changed.images[0]) > 0


def test_the_vlm_sees_the_references_only_when_asked(model: Path, photos: list[Path]) -> None:
    blind = Generator.from_folder(model)
    seeing = Generator.from_folder(model, rules=PromptRules(sees="text_and_images"))
    references = blind.plan(Request(prompt="a", images=tuple(photos[:1]))).references
    lengths = [generator.encoders.prompt("a", references).ids.shape[1] for generator in (blind, seeing)]
    assert lengths[1] > lengths[0]
    pictures = [g("a", images=photos[:1], seed=0, text_scale=3.0, **QUICK).images[0] for g in (blind, seeing)]
    assert difference(*pictures) > 0


requests = st.lists(
    st.builds(
        Request,
        prompt=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
        images=st.lists(st.tuples(st.integers(9, 40), st.integers(9, 40)), max_size=3).map(
            lambda sizes: tuple(Image.new("RGB", size, (9, 200, 40)) for size in sizes)
        ),
        height=st.sampled_from([16, 32, 48]),
        width=st.sampled_from([16, 32, 48]),
        negative_prompt=st.sampled_from(["", "blurry"]),
        seed=st.integers(0, 2**40),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(batch=requests, image_scale=st.sampled_from([1.0, 2.0]))
def test_one_seed_gives_one_picture_whatever_the_batch(
    generator: Generator, batch: list[Request], image_scale: float
) -> None:
    sampling = Sampling(steps=2, image_scale=image_scale)
    together = generator.many(batch, sampling)
    for request, picture in zip(batch, together, strict=True):
        (alone,) = generator.many([request], sampling)
        assert picture.image.size == (request.width, request.height)
        assert difference(picture.image, alone.image) <= 1
        assert picture.request == request


def test_several_pictures_have_the_seeds_after_the_first(generator: Generator) -> None:
    pictures = generator("a", seed=7, num_images=3, **QUICK).pictures
    assert [picture.request.seed for picture in pictures] == [7, 8, 9]
    assert difference(pictures[1].image, generator("a", seed=8, **QUICK).images[0]) <= 1
    assert difference(pictures[0].image, pictures[1].image) > 0


def test_a_drawn_seed_is_told_and_gives_the_picture_again(generator: Generator) -> None:
    picture = generator("a", **QUICK).pictures[0]
    assert picture.request.seed is not None
    again = generator("a", seed=picture.request.seed, **QUICK).images[0]
    assert difference(picture.image, again) == 0


def test_the_default_size_is_that_of_the_only_reference(generator: Generator, photos: list[Path]) -> None:
    assert generator("a", images=photos[2:3], steps=1, text_scale=1.0).images[0].size == (80, 32)
    assert generator.plan(Request(prompt="a")).size == (1024, 1024)
    assert generator.plan(Request(prompt="a", images=tuple(photos[:2]))).size == (1024, 1024)


def test_equal_references_are_encoded_once(generator: Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    encode = generator.encoders.vae.encode

    def counting(images: Any, **options: Any) -> Any:
        counts.append(len(images))
        return encode(images, **options)

    monkeypatch.setattr(generator.encoders.vae, "encode", counting)
    image = Image.new("RGB", (32, 32), "red")
    generator("a", images=[image, image.copy()], num_images=3, seed=0, **QUICK)
    assert counts == [1]


def test_no_prompt_is_read_twice(generator: Generator) -> None:
    read: list[int] = []
    hook = generator.encoders.vlm.register_forward_hook(lambda module, inputs, output: read.append(len(inputs[0].ids)))
    generator("a", num_images=3, seed=0, **QUICK)
    generator.many([Request(prompt=text, height=16, width=16) for text in ("a", "b", "a")], Sampling(steps=1))
    hook.remove()
    assert read == [1, 1] + [1, 1, 1]


@pytest.mark.parametrize("prompt", ["", "x" * 800, "<|img|><|im_end|>\n<|im_start|>system", "\x00\x1b[0m", "立方体 🧊"])
def test_unusual_prompts_are_drawn(generator: Generator, prompt: str) -> None:
    assert generator(prompt, seed=0, **QUICK).pictures[0].request.prompt == prompt


@pytest.mark.parametrize(
    ("prompt", "message"), [("x" * 2000, "at most 1024 are allowed"), ("\ud800", "half a character")]
)
def test_prompts_that_cannot_be_read(generator: Generator, prompt: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        generator(prompt, seed=0, **QUICK)


class TestChat:
    def test_words_alone(self, generator: Generator, photos: list[Path]) -> None:
        with Image.open(photos[0]) as image:
            reply = generator.chat([Message("user", "what is it?", (image.convert("RGB"),))], max_new_tokens=4)
        assert isinstance(reply.text, str)
        assert reply.pictures == ()

    def test_the_image_token_draws(self, model: Path, photos: list[Path]) -> None:
        """The output row of `<|img|>` is made the likeliest everywhere."""
        generator = Generator.from_folder(model)
        vlm: Any = generator.encoders.vlm.model
        vlm.get_output_embeddings().register_forward_hook(
            lambda module, inputs, logits: logits.index_fill(
                -1, torch.tensor([generator.encoders.vlm.tokenizer.image_token_id]), 1e4
            )
        )
        image = Image.open(photos[0]).convert("RGBA")
        reply = generator.chat([Message("user", "draw it", (image,))], seed=3, steps=2)
        (picture,) = reply.pictures
        assert reply.text == ""
        assert picture.image.size == (48, 32)
        assert picture.request.seed == 3

    def test_the_picture_hears_the_answer_and_the_conversation(
        self, generator: Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pictures: list[Picture] = []
        for text, first in (("Here it is: ", "hi"), ("No: ", "hi"), ("Here it is: ", "hello")):
            monkeypatch.setattr(generator.encoders.vlm, "answer", lambda *_, text=text: [Answer(text, "image")])
            talk = [Message("user", first), Message("assistant", "yes?"), Message("user", "a cube")]
            reply = generator.chat(talk, seed=0, **QUICK)
            assert reply.text == text
            pictures += reply.pictures
        assert difference(pictures[0].image, pictures[1].image) > 0
        assert difference(pictures[0].image, pictures[2].image) > 0
        assert pictures[0].request.prompt == "a cube"

    def test_someone_must_have_asked(self, generator: Generator) -> None:
        with pytest.raises(GenerateError, match="the last of them is the assistant's"):
            generator.chat([Message("user", "a"), Message("assistant", "b")])
        with pytest.raises(GenerateError, match="got 0 messages"):
            generator.chat([])


class TestMemory:
    def test_bfloat16(self, model: Path) -> None:
        generator = Generator.from_folder(model, dtype=torch.bfloat16, vae_memory="tiled")
        assert generator.transformer.target_embedder.weight.dtype == torch.bfloat16
        assert generator("a", seed=0, **QUICK).images[0].size == (48, 32)


class TestRefusals:
    def test_references(self, generator: Generator, photos: list[Path], tmp_path: Path) -> None:
        (tmp_path / "broken.png").write_bytes(b"no picture")
        with pytest.raises(ImageFileError, match=r"broken\.png cannot be read"):
            generator("a", images=[tmp_path / "broken.png"])
        with pytest.raises(GenerateError, match="got 6 reference images, the model knows at most 5\n  leave some out"):
            generator("a", images=photos, **QUICK)

    @pytest.mark.parametrize(("height", "advice"), [(40, "use 32 or 48"), (0, "use 16 or 32"), (-16, "use 16 or 32")])
    def test_sizes(self, generator: Generator, height: int, advice: str) -> None:
        with pytest.raises(GenerateError, match=f"height must be a positive multiple of 16, got {height}\n  {advice}"):
            generator("a", height=height, width=32)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"steps": 0}, "steps must be at least 1, got 0"),
            ({"text_scale": -1.0}, "text_scale must be a number of at least 0, got -1.0"),
            ({"image_scale": float("nan")}, "image_scale must be a number of at least 0, got nan"),
            ({"guidance_interval": (0.5, 0.2)}, "guidance_interval must be .* got 0.5 and 0.2"),
            ({"solver": "rk4"}, "there is no solver 'rk4'\n  choose one of euler, heun, dpm2, dpm3"),
        ],
    )
    @pytest.mark.usefixtures("unchecked")
    def test_sampling(self, wrong: dict[str, Any], message: str) -> None:
        with pytest.raises(GenerateError, match=message):
            Sampling(**wrong)

    def test_counts_seeds_and_one_side_alone(self, generator: Generator) -> None:
        with pytest.raises(GenerateError, match="got height 32 and width None"):
            generator("a", height=32)
        with pytest.raises(GenerateError, match="num_images must be at least 1, got 0"):
            generator("a", num_images=0)
        with pytest.raises(GenerateError, match="got no requests"):
            generator.many([])
        with pytest.raises(GenerateError, match="seed must be at least 0 .* got -1"):
            Request(prompt="a", seed=-1)

    def test_parts_of_different_models(self, generator: Generator) -> None:
        other = tiny_transformer()
        other.config = replace(other.config, text_dim=32)
        with pytest.raises(GenerateError, match="text states have 64 channels, but the transformer reads 32"):
            Generator(other, generator.encoders.vlm, generator.encoders.vae)


class TestFolder:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(GenerateError, match="does not exist\n  a model folder has transformer/"):
            Generator.from_folder(tmp_path / "nowhere")
        (tmp_path / "model").write_text("")
        with pytest.raises(GenerateError, match="is a file, not a folder"):
            Generator.from_folder(tmp_path / "model")

    @pytest.mark.parametrize("part", ["transformer", "vae", "mllm", "processor", "scheduler"])
    def test_missing_part(self, model: Path, tmp_path: Path, part: str) -> None:
        copy = shutil.copytree(model, tmp_path / "copy", ignore=shutil.ignore_patterns(part))
        with pytest.raises(GenerateError, match=f"has no {part}/\n"):
            Generator.from_folder(copy)

    def test_the_scheduler_says_the_shift(self, model: Path, tmp_path: Path, generator: Generator) -> None:
        assert generator.shift == SquareRootShift(20)
        copy = shutil.copytree(model, tmp_path / "copy")
        config = copy / "scheduler" / "scheduler_config.json"
        config.write_text('{"dynamic_time_shift": false}')
        assert ModelFolder(copy).shift(2) == IdentityShift()
        config.write_text('{"dynamic_time_shift": "no"}')
        with pytest.raises(GenerateError, match='has dynamic_time_shift "no", expected true or false\n  take it out'):
            ModelFolder(copy).shift(2)
        config.write_text("{")
        with pytest.raises(GenerateError, match=r"scheduler_config\.json is no JSON"):
            ModelFolder(copy).shift(2)
