"""A command fails and says what to do, in words of the Python API: "use overflow='cut'" where there is no such option.

What an error can advise is told by whoever shows it: in Python with the names of arguments, in a command with those
of its own options, and of those that it has not nothing is said. A place in a batch is told as file and line.
"""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from omnigen2.adapters import LoRA, add_lora
from omnigen2.cli import main
from omnigen2.errors import UserError
from omnigen2.generate import Generator
from omnigen2.generate.tiny import tiny_transformer
from omnigen2.pictures import ImageFileError, ImageReader
from tests.commands.conftest import SMALL, Shell
from tests.paths import ROOT

ERROR = UserError("it is long", "shorten it", {"max_tokens": "raise {}", "overflow": "set {} to cut"})


def test_advice_is_in_the_words_of_who_shows_it() -> None:
    assert str(ERROR) == "it is long\n  shorten it, or raise max_tokens, or set overflow to cut"
    assert ERROR.advice(["out", "max_tokens"]) == "shorten it, or raise --max_tokens"
    assert ERROR.advice([]) == "shorten it"
    assert UserError("a", arguments={"prefix": "say which with {}"}).advice(["prefix"]) == "say which with --prefix"
    assert str(ERROR.at("a.jsonl, line 3")).startswith("a.jsonl, line 3: it is long\n  shorten it, or raise max_tokens")


def animation() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    frames[0].save("film.gif", save_all=True, append_images=frames[1:])


def test_an_animation_is_told_by_each_command_in_its_own_words(shell: Shell) -> None:
    animation()
    with pytest.raises(ImageFileError, match="or set animated to first_frame"):
        ImageReader().read("film.gif")
    words = ("generate", "--model", shell.model, "--prompt", "a", "--image", "film.gif", "--out", "a.png")
    problem, remedy = shell.refused(*words)
    assert problem == "error: image file film.gif has 3 frames"
    assert remedy.strip() == "save the one that is meant as a picture"
    assert "animated" not in shell.refused("chat", "--model", shell.model, "--message", "a", "--image", "film.gif")[1]


def test_a_long_prompt_is_told_without_the_settings_of_the_tokenizer(shell: Shell, generator: Generator) -> None:
    with pytest.raises(UserError, match="shorten it, or raise max_tokens, or set overflow to cut"):
        generator("x" * 2000, height=16, width=16)
    for words in (
        ("generate", "--model", shell.model, "--prompt", "x" * 2000, "--out", "a.png"),
        ("chat", "--model", shell.model, "--message", "x" * 2000, "--device", "cpu"),
    ):
        main([str(word) for word in words])
        *_, problem, remedy = shell.capture.readouterr().err.splitlines()
        assert problem.startswith("error: the conversation has 2")
        assert remedy.strip() == "shorten it"


def weights(change: Any) -> None:
    state = {name: tensor.clone() for name, tensor in tiny_transformer().state_dict().items()}
    save_file(change(state), "weights.safetensors")


def adapted_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    del state
    dit = tiny_transformer()
    add_lora(dit, LoRA())
    return {name: tensor.clone() for name, tensor in dit.state_dict().items()}


@pytest.mark.parametrize(
    ("change", "problem", "remedy"),
    [
        (adapted_state, "hold LoRA layers, such as", "with the folder weights/adapter that the run has left as --lora"),
        (
            lambda state: {f"{who}.{name}": one.clone() for who in "ab" for name, one in state.items()},
            "several transformers, behind 'a.', 'b.'",
            "say which with --prefix",
        ),
        (lambda state: {**state, "blocks.0.scale_weight": torch.ones(1)}, "scale", "bfloat16"),
    ],
)
def test_export_names_its_options(shell: Shell, change: Any, problem: str, remedy: str) -> None:
    weights(change)
    first, second = shell.refused("export", "weights.safetensors", "--base", shell.model, "--out", "out")
    assert problem in first
    assert remedy in second
    assert "base that was trained from" not in second


def test_what_is_there_already_is_replaced_with_the_option_that_does_it(shell: Shell) -> None:
    Path("there").mkdir()
    Path("there/file").touch()
    assert shell.refused("make-tiny", "there")[1].strip() == "give another folder, or write into it with --overwrite"
    shell.generate("--prompt", "a", "--out", "a.png")
    before = Path("a.png").read_bytes()
    words = ("generate", "--model", shell.model, *SMALL, "--prompt", "b", "--out", "a.png")
    problem, remedy = shell.refused(*words)
    assert (problem, remedy.strip()) == (
        "error: a.png is there already",
        "write another file, or replace it with --overwrite",
    )
    assert Path("a.png").read_bytes() == before
    assert "wrote a.png" in shell(*words, "--overwrite")
    assert Path("a.png").read_bytes() != before


def test_a_preview_is_not_replaced_unasked(shell: Shell) -> None:
    Path("sheet.png").write_text("mine")
    assert "replace it with --overwrite" in shell.refused("microworld", "preview", "sheet.png")[1]
    assert Path("sheet.png").read_text() == "mine"


@pytest.mark.parametrize("size", [(2010, 10), (10, 2010)])
def test_a_picture_that_is_too_long_to_be_shown_is_named(shell: Shell, size: tuple[int, int]) -> None:
    Image.new("RGB", size).save("long.png")
    problem, remedy = shell.refused("chat", "--model", shell.model, "--message", "a", "--image", "long.png")
    assert problem.startswith(f"error: image file long.png has {size[0]} x {size[1]} pixels; the vision-language model")
    assert remedy.strip() == "cut it"
    Image.new("RGB", (2000, 10)).save("long.png")
    shell("chat", "--model", shell.model, "--message", "a", "--image", "long.png", "--device", "cpu")


PYTHON = re.compile(r"\b[a-z_]+=(?:'|\"|True|False|None)")


def named(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def test_no_error_of_users_advises_an_argument_of_python() -> None:
    """Errors that derive from `UserError` say it by `arguments`, which commands put into their own words."""
    nodes = [
        (path, node)
        for path in (ROOT / "omnigen2").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef | ast.Call)
    ]
    kinds = {"UserError"}
    for _ in range(3):
        kinds |= {
            node.name for _, node in nodes if isinstance(node, ast.ClassDef) and kinds & set(map(named, node.bases))
        }
    assert len(kinds) > 5
    for path, node in nodes:
        if isinstance(node, ast.Call) and named(node.func) in kinds:
            said = " ".join(str(one.value) for one in ast.walk(node) if isinstance(one, ast.Constant))
            assert not PYTHON.search(said), f"{path.relative_to(ROOT)}, line {node.lineno}: {said}"
