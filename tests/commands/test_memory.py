"""Memory and number formats on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from omnigen2.commands.settings import ModelSettings, needed
from omnigen2.generate import read_parameters
from omnigen2.generate.memory.lent import Lent
from omnigen2.microworld import draw, full_vocabulary, sample_edit
from omnigen2.microworld.runs.folder import write_micro
from tests.commands.conftest import Shell
from tests.generate.memory.conftest import half  # noqa: F401

PLACE = "omnigen2.generate.memory"


def test_too_much_is_refused_before_anything_is_loaded(
    shell: Shell,
    half: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("omnigen2.generate.Generator.from_folder", lambda *_, **__: pytest.fail("loaded"))
    words = ("generate", "--model", half, "--device", "cpu", "--dtype", "float32", "--prompt", "a", "--out", "a.png")
    monkeypatch.setattr(f"{PLACE}.room.free_memory", lambda device: 10**6)
    lines = shell.refused(*words, "--height", 2048, "--width", 2048)
    assert "drawing needs about" in lines[0]
    assert "GB of the memory of the host, 0.0 GB are free" in lines[0]
    assert "smaller pictures" in lines[1]
    weights = needed(ModelSettings(model=half, device="cpu", dtype="float32"), ()).own
    monkeypatch.setattr(f"{PLACE}.room.free_memory", lambda device: weights)
    lines = shell.refused(*words, "--height", 16, "--width", 16)
    assert set(lines[1].strip().split(", or ")) == {"set --dtype to bfloat16", "set --offload to stages"}


def test_offload_changes_no_picture(shell: Shell, half: Path) -> None:  # noqa: F811
    small = ("--height", 32, "--width", 32, "--steps", 1, "--seed", 0, "--device", "cpu", "--dtype", "float32")
    for offload in ("none", "blocks"):
        out = f"{offload}.png"
        shell("generate", "--model", half, "--prompt", "a", *small, "--offload", offload, "--out", out)
    first, second = (Path(f"{offload}.png").read_bytes() for offload in ("none", "blocks"))
    assert first == second
    assert read_parameters("none.png")["dtype"] == "float32"


def test_a_number_format_that_others_would_not_expect_is_told(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(f"{PLACE}.placement.free_memory", lambda device: 10**6)
    assert shell.generate("--prompt", "a", "--out", "a.png", "--dry_run")
    monkeypatch.setattr("omnigen2.commands.settings.note", lambda sentence: print(sentence))
    told = shell.generate("--prompt", "a", "--out", "a.png")
    assert told.count("bfloat16 is used") == 1
    assert read_parameters("a.png")["dtype"] == "bfloat16"


def test_pictures_of_another_number_format_are_refused_and_old_ones_are_done(shell: Shell) -> None:
    Path("lines.jsonl").write_text(json.dumps({"prompt": "a", "out": "a.png"}))
    words = ("--from_file", "lines.jsonl", "--out", "pictures", "--seed", 0)
    shell.generate(*words, "--dtype", "float32")
    assert "there already" in shell.generate(*words)
    lines = shell.refused(
        "generate", "--model", shell.model, "--height", 32, "--width", 48, "--steps", 2, *words, "--dtype", "bfloat16"
    )
    assert "drawn with dtype 'float32' in place of 'bfloat16'" in lines[0]


def test_a_dry_run_tells_what_the_system_can_take_back(shell: Shell) -> None:
    told = shell.generate("--prompt", "a", "--out", "a.png", "--dry_run", "--dtype", "float32")
    assert "pages the system can drop" in told
    rows = {line.split()[0]: float(line.split()[-2].replace(",", "")) for line in told.splitlines()[1:]}
    assert rows["of"] == pytest.approx(rows["transformer"] + rows["mllm"] + rows["vae"], abs=0.2)


def test_a_file_of_prompts_wakes_the_language_model_once(
    shell: Shell,
    half: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("lines.jsonl").write_text("\n".join(json.dumps({"prompt": one, "height": 32, "width": 32}) for one in "aba"))
    words = ("generate", "--model", half, "--from_file", "lines.jsonl", "--steps", 1, "--device", "cpu")
    shell(*words, "--out", "plain")
    woken: list[int] = []
    lend = Lent.lend
    monkeypatch.setattr(Lent, "lend", lambda self: woken.append(len(self.parameters)) or lend(self))
    shell(*words, "--out", "rested", "--offload", "stages")
    mllm, *others = (woken.count(number) for number in dict.fromkeys(woken))  # the first that is woken reads
    assert mllm == 1
    assert others == [3, 3]  # the transformer and the autoencoder, for each picture is written when it is drawn
    for number in (1, 2, 3):
        plain, rested = (Path(out, f"0000{number}.png").read_bytes() for out in ("plain", "rested"))
        assert plain == rested


def test_an_evaluation_draws_with_small_weights_and_rests(shell: Shell, half: Path) -> None:  # noqa: F811
    task = sample_edit(full_vocabulary(32), np.random.default_rng(0))
    write_micro(Path("data"), [task], [draw(task.target, 32)])
    Path("data/00000.png").unlink()
    words = ("evaluate", "micro-edit", "--data", "data", "--judge", "rules", "--images", "mine", "--out", "out")
    assert "--quantize goes with a --model" in shell.refused(*words, "--quantize", "int8")[0]
    assert "--offload goes with a --model that draws" in shell.refused(*words, "--offload", "idle")[0]
    words = (*words, "--model", half, "--steps", 1, "--height", 32, "--width", 32, "--device", "cpu")
    refused = shell.refused(*words, "--quantize", "int8", "--offload", "stages")
    assert refused[0].endswith("offload stages works out of the files, which hold no int8 weights")
    assert not list(Path("mine").glob("*.png"))
    shell(*words, "--quantize", "int8", "--offload", "idle", "--dtype", "float32")
    (drawn,) = Path("mine").glob("*.png")
    assert read_parameters(drawn)["dtype"] == "float32, int8 weights"
