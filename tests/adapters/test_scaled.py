"""An adapter and its strength in one word."""

from pathlib import Path

import pytest

from omnigen2.adapters import ScaledAdapter
from omnigen2.errors import UserError


@pytest.mark.parametrize(
    ("text", "path", "scale", "name"),
    [
        ("style", "style", 1.0, "style"),
        ("style:0.7", "style", 0.7, "style:0.7"),
        ("a/style.safetensors:-1.5", "a/style.safetensors", -1.5, "style.safetensors:-1.5"),
        ("style:2", "style", 2.0, "style:2.0"),
        ("style:1", "style", 1.0, "style"),
        ("there:3", "there:3", 1.0, "there:3"),
        ("there:3:0.5", "there:3", 0.5, "there:3:0.5"),
        (r"C:\style", r"C:\style", 1.0, r"C:\style"),
        ("C:/loras/style:1e-1", "C:/loras/style", 0.1, "style:0.1"),
        ("none:x", "none:x", 1.0, "none:x"),
    ],
)
def test_what_is_written(
    text: str, path: str, scale: float, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there:3").mkdir()
    found = ScaledAdapter.parse(text)
    assert (found.path, found.scale, found.name) == (Path(path), scale, name)


@pytest.mark.parametrize("end", ["nan", "inf", "-inf", "x", ""])
def test_what_is_no_strength_is_refused(end: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"finite number|is no number\n  write DIR:0.7"):
        ScaledAdapter.parse(f"{tmp_path}:{end}")
