"""Files that are whole or not there, and tables."""

from pathlib import Path

import pytest
import torch

from omnigen2.files import (
    markdown_table,
    number,
    read_json,
    save_tensors,
    spread,
    write_bytes,
    write_json,
    write_text,
    written_beside,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read_json(tmp_path / "a") is None
    for content in ({"a": 1}, {"b": ["é"]}):
        write_json(tmp_path / "a", content)
        assert read_json(tmp_path / "a") == content
    write_text(tmp_path / "b", "é\n")
    write_bytes(tmp_path / "c", b"\xff")
    assert [(tmp_path / name).read_bytes() for name in "bc"] == ["é\n".encode(), b"\xff"]
    assert {path.name for path in tmp_path.iterdir()} == set("abc")


@pytest.mark.parametrize("there", [True, False])
def test_a_file_that_could_not_be_written_is_as_before(there: bool, tmp_path: Path) -> None:
    path = tmp_path / "a"
    if there:
        path.write_text("old")

    def interrupted() -> None:
        with written_beside(path) as draft:
            draft.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(RuntimeError, match="share memory"):
        save_tensors(dict.fromkeys("ab", torch.ones(2)), path)
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new\ud800")
    assert [one.read_text() for one in tmp_path.iterdir()] == ["old"] * there


def test_spread_of_one_value_has_no_deviation_and_infinity_is_no_crash() -> None:
    assert spread([0.12345]) == "0.123"
    assert spread([1.0, float("inf")]) == "inf ± nan"
    assert (number(1.255, 1), number(float("nan"))) == ("1.3", "–")


def test_a_bar_in_a_cell_does_not_break_the_table() -> None:
    assert markdown_table(["a", "b"], [["x|y", "1"]]) == "| a | b |\n| --- | --- |\n| x\\|y | 1 |"
    assert markdown_table(["a", "b", "c"], [], right=True).splitlines()[-1] == "| --- | ---: | ---: |"
