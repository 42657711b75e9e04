"""The command line, as a new user meets it."""

import io
import json
import shutil
from functools import partial
from math import nan
from pathlib import Path

import pytest
import torch
from PIL import Image

from omnigen2.adapters import LoRA, add_lora, save_lora
from omnigen2.cli import main
from omnigen2.dit import variants
from omnigen2.generate import GenerateError, Generator, Sampling, read_parameters
from omnigen2.generate.tiny import tiny_transformer
from tests.adapters.cases import adapted
from tests.commands.conftest import Shell


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.tobytes()


class TestGenerate:
    def test_text_edit_and_in_context(self, shell: Shell, photos: list[Path], generator: Generator) -> None:
        assert "wrote a.png (seed 3)" in shell.generate("--prompt", "a cube", "--seed", 3, "--out", "a.png")
        expected = generator("a cube", height=32, width=48, steps=2, seed=3).images[0]
        assert pixels(shell.folder / "a.png") == expected.tobytes()
        shell.generate("--prompt", "blue", "--image", "a.png", "--image-scale", 1.5, "--out", "b.png")
        found = read_parameters("b.png")
        assert (found["images"], found["image_scale"], found["solver"]) == (["a.png"], 1.5, "euler")
        three = [word for path in photos[:3] for word in ("--image", path)]
        shell.generate("--prompt", "all", *three, "--solver", "dpm2", "--guidance_interval", 0, 0.6, "--out", "c.png")
        assert read_parameters("c.png")["guidance_interval"] == [0.0, 0.6]

    def test_the_seed_in_the_file_gives_the_picture_again(self, shell: Shell) -> None:
        shell.generate("--prompt", "a", "--out", "a.png")
        shell.generate("--prompt", "a", "--seed", read_parameters("a.png")["seed"], "--out", "b.png")
        assert pixels(shell.folder / "a.png") == pixels(shell.folder / "b.png")

    def test_several_pictures(self, shell: Shell) -> None:
        shell.generate("--prompt", "a", "--seed", 5, "--num_images", 2, "--batch_size", 2, "--out", "new/a.png")
        assert [read_parameters(f"new/a-{number}.png")["seed"] for number in (1, 2)] == [5, 6]

    def test_dry_run_loads_and_writes_nothing(self, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Generator, "from_folder", None)
        said = shell.generate("--prompt", "a", "--out", "a.png", "--dry_run")
        for part in ("transformer", "mllm", "vae", "denoising", "decoding", "peak"):
            assert part in said
        assert not (shell.folder / "a.png").exists()

    def test_an_adapter(self, shell: Shell) -> None:
        dit = tiny_transformer()
        add_lora(dit, LoRA())
        save_lora(dit, "style")
        shell.generate("--prompt", "a", "--lora", "style", "--out", "a.png", "--vlm_sees_images", "--dtype", "bfloat16")
        assert read_parameters("a.png")["adapters"] == ["style"]

    def test_the_strength_of_an_adapter_acts_and_is_told(self, shell: Shell) -> None:
        save_lora(adapted(), "style")
        for scale in ("1", "0.5", "-2", "0"):
            words = ("--prompt", "a", "--seed", 1, "--lora", f"style:{scale}")
            shell.generate(*words, "--out", f"a{scale}.png")
        told = [read_parameters(f"a{scale}.png")["adapters"] for scale in ("1", "0.5", "-2", "0")]
        assert told == [["style"], ["style:0.5"], ["style:-2.0"], ["style:0.0"]]
        shell.generate("--prompt", "a", "--seed", 1, "--out", "plain.png")
        assert pixels(Path("a0.png")) == pixels(Path("plain.png"))
        assert len({pixels(Path(f"a{scale}.png")) for scale in ("1", "0.5", "-2", "0")}) == 4
        again = Generator.from_folder(shell.model)
        again.load_lora("style", scale=0.5)
        expected = again("a", height=32, width=48, steps=2, seed=1).pictures[0]
        assert (expected.image.tobytes(), expected.adapters) == (pixels(Path("a0.5.png")), ("style:0.5",))

    def test_a_wrong_adapter_is_told_before_the_model_is_loaded(
        self, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Generator, "from_folder", None)
        dit = variants.micro()
        add_lora(dit, LoRA())
        save_lora(dit, "other")
        base = ("generate", "--model", shell.model, "--prompt", "a", "--out", "a.png", "--device", "cpu", "--lora")
        assert "which the transformer lacks" in shell.refused(*base, "other")[0]
        assert "none does not exist" in shell.refused(*base, "none")[0]
        assert "the strength of the adapter other is nan" in shell.refused(*base, "other:nan")[0]

    def test_a_fixed_time_shift_acts_and_is_told(self, shell: Shell, generator: Generator) -> None:
        shell.generate("--prompt", "a", "--seed", 3, "--time_shift", 3, "--out", "a.png")
        shell.generate("--prompt", "a", "--seed", 3, "--out", "b.png")
        expected = generator("a", height=32, width=48, steps=2, seed=3, time_shift=3.0).images[0]
        assert pixels(Path("a.png")) == expected.tobytes() != pixels(Path("b.png"))
        fixed, own = read_parameters("a.png"), read_parameters("b.png")
        assert (fixed["time_shift"], fixed["shift"]) == (3.0, "fixed, 3")
        assert (own["time_shift"], own["shift"]) == (None, "square root of the size, none at 320 pixels")
        Path("jobs.jsonl").write_text('{"prompt": "a", "seed": 3, "time_shift": 3, "out": "c.png"}\n')
        shell.generate("--from_file", "jobs.jsonl", "--out", "drawn")
        assert pixels(Path("drawn/c.png")) == expected.tobytes()
        base = ("generate", "--model", shell.model, "--prompt", "a", "--out", "d.png", "--time_shift")
        for wrong in ("0", "-1"):
            assert "time_shift must be a number above 0" in shell.refused(*base, wrong)[0]
        with pytest.raises(GenerateError, match="time_shift must be a number above 0, got nan"):
            Sampling(time_shift=nan)


class TestFromFile:
    LINES = (
        {"prompt": "one"},
        {"prompt": "zwei 立方体", "images": ["photo.png"], "height": 16, "width": 16, "seed": 9, "out": "sub/two.png"},
        {"prompt": "three", "steps": 1, "negative_prompt": "x", "guidance_interval": [0, 0.5], "image_scale": 2},
    )

    def write(self, *lines: object) -> None:
        Image.new("RGB", (32, 32), "red").save("photo.png")
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        Path("prompts.jsonl").write_text(text, encoding="utf-8")

    def draw(self, shell: Shell, *words: object) -> str:
        return shell.generate("--from_file", "prompts.jsonl", "--out", "pictures", "--batch_size", 2, *words)

    def test_every_line_becomes_a_picture_and_is_not_drawn_again(self, shell: Shell) -> None:
        self.write(*self.LINES)
        first = self.draw(shell, "--seed", 100)
        paths = [Path("pictures") / name for name in ("00001.png", "sub/two.png", "00003.png")]
        assert [line for line in first.splitlines() if line.startswith("wrote")] == [
            f"wrote {path} (seed {seed})" for path, seed in zip(paths, (100, 9, 102), strict=True)
        ]
        found = [read_parameters(path) for path in paths]
        assert [each["prompt"] for each in found] == [line["prompt"] for line in self.LINES]
        assert [each["steps"] for each in found] == [2, 2, 1]
        before = {path: path.read_bytes() for path in paths}
        paths[1].unlink()
        second = self.draw(shell, "--seed", 100)
        assert second.splitlines() == ["2 of 3 pictures are there already", f"wrote {paths[1]} (seed 9)"]
        for path in paths:
            assert pixels(path) == pixels(io.BytesIO(before[path]))  # type: ignore[arg-type]
        assert self.draw(shell, "--seed", 100) == "3 of 3 pictures are there already\n"

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("{", "line 2 is no JSON"),
            ([1], "line 2 is a JSON list"),
            ({"prompt": "a", "hight": 3}, "line 2 has the unknown key 'hight'"),
            ({"images": []}, "line 2 has no prompt"),
            ({"prompt": "a", "steps": "4"}, "line 2: steps is '4'"),
            ({"prompt": "a", "seed": True}, "line 2: seed is True"),
            ({"prompt": "a", "steps": 0}, "line 2: steps must be at least 1, got 0"),
            ({"prompt": "a", "images": ["no.png"]}, "line 2: there is no image file no.png"),
            ({"prompt": "a", "images": [3]}, "line 2: images is [3]"),
            ({"prompt": "a", "out": "../a.png"}, "line 2 writes outside the output folder"),
            ({"prompt": "a", "out": "00001.png"}, "line 2 writes 00001.png a second time"),
            ({"prompt": "a", "out": "a.gif"}, "line 2: pictures are written as PNG, WebP or JPEG, got the name a.gif"),
            ({"prompt": "a", "guidance_interval": [1]}, "line 2: guidance_interval is [1]"),
            ({"prompt": "a", "height": 40, "width": 32}, "height must be a positive multiple of 16, got 40"),
        ],
    )
    def test_a_wrong_line_is_named_before_anything_is_drawn(self, shell: Shell, line: object, message: str) -> None:
        self.write({"prompt": "fine"}, line)
        words = ("--from_file", "prompts.jsonl", "--out", "pictures", "--device", "cpu")
        assert message in shell.refused("generate", "--model", shell.model, *words)[0]
        assert not Path("pictures").exists()

    def test_files_that_cannot_be_used(self, shell: Shell) -> None:
        base = ("generate", "--model", shell.model, "--from_file")
        assert "there is no file none.jsonl" in shell.refused(*base, "none.jsonl", "--out", "p")[0]
        Path("empty.jsonl").write_text("\n")
        assert "has no prompts" in shell.refused(*base, "empty.jsonl", "--out", "p")[0]
        assert "needs a folder" in shell.refused(*base, "empty.jsonl", "--out", "p.png")[0]


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("--model", "nowhere", "--prompt", "a", "--out", "a.png"), "the model folder nowhere does not exist"),
            (("--model", "file", "--prompt", "a", "--out", "a.png"), "the model folder file is a file"),
            (("--model", "half", "--prompt", "a", "--out", "a.png"), "the model folder half has no vae/"),
            (("--prompt", "a", "--out", "a.gif"), "pictures are written as PNG, WebP or JPEG, got the name a.gif"),
            (("--prompt", "a"), "the following arguments are required: --out"),
            (("--out", "a.png"), "give either --prompt or --from_file"),
            (("--prompt", "a", "--out", "a.png", "--steps", "0"), "steps must be at least 1, got 0"),
            (
                ("--prompt", "a", "--out", "a.png", "--solver", "rk4"),
                "--solver: expected one of 'euler', 'heun', 'dpm2', 'dpm3', got rk4",
            ),
            (("--prompt", "a", "--out", "a.png", "--height", "40", "--width", "32"), "multiple of 16, got 40"),
            (("--prompt", "a", "--out", "a.png", "--height", "32"), "got height 32 and width None"),
            (("--prompt", "a", "--out", "a.png", *("--image", "file") * 6), "got 6 reference images"),
            (("--prompt", "a", "--out", "a.png", "--image", "file"), "image file file cannot be read"),
            (("--prompt", "a", "--out", "a.png", "--image", "none.png"), "there is no image file none.png"),
            (("--prompt", "a", "--out", "a.png", "--num_images", "0"), "--num_images must be at least 1, got 0"),
            (("--prompt", "a", "--out", "a.png", "--batch_size", "0"), "--batch_size must be at least 1, got 0"),
            (("--prompt", "a", "--out", "a.png", "--device", "abacus"), "there is no device 'abacus'"),
            (("--prompt", "a", "--out", "a.png", "--device", "cuda:9"), "the device cuda:9 cannot be used here ("),
            (("--prompt", "a", "--out", "."), "written as PNG, WebP or JPEG, got the name ."),
            (("--prompt", "a", "--out", "a.png", "--lora", "none"), "none does not exist"),
            (("--prompt", "a", "--out", "a.png", "--stepps", "3"), "unrecognized arguments: --stepps 3"),
            (("--prompt", "a", "--out", "a.png", "--image"), "--image: expected 1 argument"),
            (("--prompt", "a", "--guidance-interval", "0", "--out", "a.png"), "interval: expected 2 arguments"),
            (("--prompt", "a", "--guidance_interval", "0", "b"), "--guidance_interval: 'b' is no number"),
            (("--prompt", "a" * 5000, "--out", "a.png"), "1024 are allowed"),
        ],
    )
    def test_two_lines_say_what_and_what_to_do(self, shell: Shell, words: tuple[str, ...], message: str) -> None:
        Path("file").write_text("no model, no picture")
        shutil.copytree(shell.model, "half", ignore=shutil.ignore_patterns("vae"))
        model = () if "--model" in words else ("--model", str(shell.model))
        assert message in shell.refused("generate", *model, *words)[0]
        assert not Path("a.png").exists()

    def test_verbose_shows_where(self, shell: Shell) -> None:
        assert main(["generate", "--model", "no", "--prompt", "a", "--out", "a.png", "--verbose"]) == 2
        assert "Traceback" in shell.capture.readouterr().err

    def test_too_little_memory_is_told_and_a_bug_is_not_hidden(
        self, shell: Shell, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        words = ("generate", "--model", str(shell.model), "--prompt", "a", "--out", "a.png", "--device", "cpu")

        def fail(*_: object, error: Exception, **__: object) -> None:
            raise error

        monkeypatch.setattr(Generator, "from_folder", partial(fail, error=torch.OutOfMemoryError("out of memory")))
        assert "--offload stages" in shell.refused(*words)[1]
        for small in (RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError()):
            monkeypatch.setattr(Generator, "from_folder", partial(fail, error=small))
            assert "--offload stages" in shell.refused(*words)[1]
        for bug in (RuntimeError("shapes"), KeyError("x"), TypeError("x")):
            monkeypatch.setattr(Generator, "from_folder", partial(fail, error=bug))
            with pytest.raises(type(bug)):
                main(list(words))

    @pytest.mark.parametrize("command", ["generate", "chat", "make-tiny", "export", "evaluate", "microworld", "reward"])
    def test_help(self, command: str, shell: Shell) -> None:
        with pytest.raises(SystemExit, match="0"):
            main([command, "--help"])
        said = shell.capture.readouterr().out
        assert f"usage: omnigen2 {command}" in said
        assert "--config JOB.yaml" in said
