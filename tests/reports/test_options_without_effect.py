"""Somebody gives an option, gets a picture as without it, and is not told: `--negative_prompt` without guidance, a
scale below 1, tags of OmniGen 1 in a prompt, words that the model has never seen.

A command says so in one line on stderr that begins with "note:"; in Python it is a `NoEffectWarning`.
"""

import warnings
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from omnigen2.adapters import save_lora
from omnigen2.cli import main
from omnigen2.encoders import load_tokenizer
from omnigen2.generate import Generator, NoEffectWarning, Request, Sampling, notices
from omnigen2.microworld.trained import MICRO_MODEL
from omnigen2.microworld.world import all_words
from tests.adapters.cases import adapted
from tests.commands.conftest import SMALL, Shell

PICTURE = Image.new("RGB", (16, 16))
CASES: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({}, {}, []),
    ({}, {"text_scale": 1.0}, []),
    ({"negative_prompt": "blurry"}, {}, []),
    ({"negative_prompt": "x"}, {"text_scale": 1.0}, ["negative_prompt has no effect without guidance"]),
    ({}, {"text_scale": 1.0, "guidance_every": 2}, ["guidance_every has no effect without guidance"]),
    ({}, {"text_scale": 2.0, "guidance_every": 2}, []),
    ({}, {"text_scale": 0.5}, ["text_scale 0.5 acts as 1"]),
    ({}, {"text_scale": 0.0}, ["text_scale 0 acts as 1"]),
    ({}, {"image_scale": 2.0}, ["image_scale has no effect: there are no images"]),
    ({"images": (PICTURE,)}, {"image_scale": 2.0}, []),
    ({"images": (PICTURE,)}, {"image_scale": 0.5}, ["image_scale 0.5 acts as 1"]),
    (
        {"images": (PICTURE,)},
        {"image_scale": 2.0, "text_scale": 1.0},
        ["image_scale has no effect without guidance: text_scale is 1"],
    ),
    (
        {},
        {"guidance_interval": (0.0, 0.5), "text_scale": 1.0},
        ["guidance_interval has no effect without guidance: text_scale is 1"],
    ),
    ({}, {"guidance_interval": (0.3, 0.5), "steps": 4}, []),
    (
        {"negative_prompt": "x"},
        {"guidance_interval": (0.3, 0.4), "steps": 4},
        ["guidance_interval 0.3 0.4 holds none of the 4 steps: nothing is guided", "negative_prompt has no effect"],
    ),
    ({"prompt": "put <img><|image_1|></img> left of <|image_2|>"}, {}, ["tags of OmniGen 1, <img><|image_1|></img> "]),
    ({"prompt": "an <img> tag of HTML"}, {}, []),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "sampling", "expected"), CASES)
def test_what_has_no_effect_is_said(request_: dict[str, Any], sampling: dict[str, Any], expected: list[str]) -> None:
    for mark in ("", "--"):
        found = notices([Request(**{"prompt": "a", **request_})], Sampling(**sampling), mark=mark)
        assert len(found) == len(expected), found
        for sentence, beginning in zip(found, expected, strict=True):
            assert beginning.split(": ")[0] in sentence.replace("--", "")
            assert sentence.startswith(("the prompt", mark))


@pytest.mark.parametrize(
    ("request_", "sampling"),
    [(request, sampling) for request, sampling, said in CASES if said and "prompt" not in request],
)
def test_it_has_none_indeed(generator: Generator, request_: dict[str, Any], sampling: dict[str, Any]) -> None:
    """The picture is that of the settings without what was said to have no effect."""
    size = {"height": 16, "width": 16, "seed": 0, "steps": 4}
    plain = {"text_scale": min(1.0, sampling.get("text_scale", 4.0)) if "text_scale" in sampling else 4.0}
    if sampling.get("guidance_interval") == (0.3, 0.4):
        plain = {"text_scale": 1.0}
    asked = {**size, **sampling, **request_}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoEffectWarning)
        found = generator("a", **asked).images[0]
        expected = generator("a", images=request_.get("images", ()), **{**size, **plain}).images[0]
    assert found.tobytes() == expected.tobytes()


def test_in_python_it_is_a_warning(generator: Generator) -> None:
    settings = {"height": 16, "width": 16, "steps": 1, "seed": 0}
    with pytest.warns(NoEffectWarning, match="^negative_prompt has no effect without guidance: text_scale is 1$"):
        generator("a", negative_prompt="b", text_scale=1.0, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        generator("a", negative_prompt="b", **settings)


def notes(shell: Shell, *words: object) -> list[str]:
    assert main([str(word) for word in words]) == 0
    return [line for line in shell.capture.readouterr().err.splitlines() if line.startswith("note: ")]


def test_generate_says_it_once_in_the_words_of_its_options(shell: Shell) -> None:
    Path("lines.jsonl").write_text('{"prompt": "a"}\n{"prompt": "b"}\n{"prompt": "<|image_1|>", "text_scale": 3}\n')
    words = ("generate", "--model", shell.model, *SMALL, "--text_scale", 1, "--negative-prompt", "x")
    assert notes(shell, *words, "--from_file", "lines.jsonl", "--out", "drawn") == [
        "note: --negative_prompt has no effect without guidance: --text_scale is 1",
        "note: the prompt has tags of OmniGen 1, <|image_1|>, plain letters to this model: name an image in words, "
        'such as "the first image"',
    ]
    assert notes(shell, "generate", "--model", shell.model, *SMALL, "--prompt", "a", "--out", "a.png") == []


def test_generate_says_it_of_adapters_and_of_seeing(shell: Shell) -> None:
    save_lora(adapted(), "style")
    words = ("generate", "--model", shell.model, *SMALL, "--prompt", "a", "--out", "a.png", "--dry_run")
    assert notes(shell, *words, "--lora", "style:0", "--vlm_sees_images") == [
        "note: --vlm_sees_images has no effect: there are no images",
        "note: --lora style has no effect with a strength of 0",
    ]


def test_words_that_the_micro_model_does_not_know_are_named(shell: Shell) -> None:
    words = ("generate", "--model", MICRO_MODEL, "--height", 16, "--width", 16, "--out", "a.png", "--dry_run")
    assert notes(shell, *words, "--prompt", "A Zebra and a red circle, purple zebra") == [
        "note: the model does not know 'Zebra', ',', 'purple', 'zebra': it reads one sign for any unknown word"
    ]
    assert notes(shell, *words, "--prompt", "two red squares left of a blue cross") == []
    assert load_tokenizer(shell.model / "processor").unknown("Zebra, 立方体 <|endoftext|>") == ()


def test_the_help_says_which_words_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["microworld", "--help"])
    said = capsys.readouterr().out.partition("The micro model knows")[2].partition("\n\n")[0]
    listed = {word.strip(",") for word in said.partition(":\n")[2].split()}
    assert listed == {word for word in all_words() if len(word) > 1} | {"a"}


def test_other_commands_say_it_too(shell: Shell) -> None:
    assert notes(shell, "microworld", "model", "micro", "--count", 3, "--size", 32) == [
        "note: --size has no effect with model",
        "note: --count has no effect with model",
    ]
    words = ("export", shell.model, "--base", shell.model, "--out", "out", "--transformer_only", "--prefix", "dit.")
    assert notes(shell, *words) == [f"note: --prefix has no effect: {shell.model} is a folder"]


@pytest.mark.parametrize("folder", [MICRO_MODEL, None])
def test_chat_says_that_a_language_model_is_not_trained(shell: Shell, folder: Path | None) -> None:
    words = ("chat", "--model", folder or shell.model, "--message", "hello", "--device", "cpu", "--max_new_tokens", 2)
    found = notes(shell, *words)
    assert len(found) == 1
    assert "is not trained: its answers mean nothing" in found[0]
