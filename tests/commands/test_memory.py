"""Memory and number formats on the command line."""

import json
from pathlib import Path

import pytest

from omnigen2.commands.settings import ModelSettings, needed
from omnigen2.generate import read_parameters
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
