"""`omnigen2 chat`, `make-tiny` and `export`, as a new user meets them."""

import io
import sys
from pathlib import Path

import pytest
import torch

from omnigen2.adapters import load_lora, merge_lora, read_lora, save_lora
from omnigen2.dit.checkpoint import load_transformer
from omnigen2.encoders.qwen import Answer, QwenEncoder
from omnigen2.generate import read_parameters
from omnigen2.generate.tiny import tiny_transformer
from tests.adapters.cases import adapted
from tests.commands.conftest import SMALL, Shell


class TestChat:
    def test_one_message(self, shell: Shell, photos: list[Path]) -> None:
        said = shell("chat", "--model", shell.model, *SMALL, "--message", "hi", "--image", photos[0])
        assert said.endswith("\n")

    def test_a_conversation_that_draws(self, shell: Shell, photos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
        heard: list[tuple[str, ...]] = []

        def answer(self: QwenEncoder, conversations: list[list[object]], *_: object) -> list[Answer]:
            heard.append(tuple(message.text for message in conversations[0][1:]))
            return [Answer("Here: ", "image") if "draw" in conversations[0][-1].text else Answer("Yes.", "end")]

        monkeypatch.setattr(QwenEncoder, "answer", answer)
        lines = f"hello\n\n/image {photos[0]}\n/image none.png\ndraw it\n/quit\nnever read\n"
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        said = shell("chat", "--model", shell.model, *SMALL, "--out", "drawn")
        assert heard == [("hello",), ("hello", "Yes.", "draw it")]
        assert "wrote drawn/001.png" in said
        assert len(read_parameters("drawn/001.png")["images"]) == 1

    def test_refusals(self, shell: Shell) -> None:
        base = ("chat", "--model", shell.model)
        assert "--image goes with --message" in shell.refused(*base, "--image", "a.png")[0]
        assert "there is no image file a.png" in shell.refused(*base, "--message", "a", "--image", "a.png")[0]
        words = (*base, "--message", "a", "--max_new_tokens", "0")
        assert "got max_new_tokens 0" in shell.refused(*words)[0]


class TestMakeTinyAndExport:
    def test_make_tiny(self, shell: Shell) -> None:
        assert "wrote tiny" in shell("make-tiny", "tiny")
        assert "tiny has files already" in shell.refused("make-tiny", "tiny")[0]
        shell("make-tiny", "tiny", "--overwrite", "--seed", 1)
        for part in ("transformer", "vae", "mllm", "processor", "scheduler"):
            assert any(Path("tiny", part).iterdir())
        assert not torch.equal(
            load_transformer("tiny/transformer").target_embedder.weight, tiny_transformer(0).target_embedder.weight
        )

    def test_export(self, shell: Shell) -> None:
        trained = tiny_transformer(seed=4)
        torch.save({"state_dict": {f"dit.{key}": value for key, value in trained.state_dict().items()}}, "last.ckpt")
        assert "wrote out/transformer" in shell("export", "last.ckpt", "--base", shell.model, "--out", "out")
        found = load_transformer("out/transformer").state_dict()
        assert all(torch.equal(found[name], value) for name, value in trained.state_dict().items())
        again = shell.refused("export", "last.ckpt", "--base", shell.model, "--out", "out")
        assert "already" in again[0]
        assert "there is no file no.ckpt" in shell.refused("export", "no.ckpt", "--base", shell.model, "--out", "o")[0]

    def test_export_of_an_adapter(self, shell: Shell) -> None:
        """Merged with its strength, or alone for another program: the same change."""
        save_lora(adapted(), "style")
        base = ("export", shell.model, "--base", shell.model, "--lora", "style:0.5")
        shell(*base, "--out", "merged", "--transformer_only")
        expected = tiny_transformer()
        load_lora(expected, "style", scale=0.5)
        merge_lora(expected)
        for layout in ("comfyui", "peft", "diffusers"):
            said = shell("export", "style:0.5", "--base", shell.model, "--lora_layout", layout, "--out", layout)
            assert said.startswith(f"wrote {layout}/")
            found = tiny_transformer()
            load_lora(found, layout)
            merge_lora(found)
            for dit in (found, load_transformer("merged/transformer")):
                for name, value in dit.state_dict().items():
                    torch.testing.assert_close(value, expected.state_dict()[name], msg=name)
        assert "comfyui has files already" in shell.refused(*base, "--lora_layout", "comfyui", "--out", "comfyui")[0]
        shell(*base, "--lora_layout", "comfyui", "--out", "comfyui", "--overwrite", "--dtype", "bfloat16")
        assert {pair.up.dtype for pair in read_lora("comfyui").values()} == {torch.bfloat16}
