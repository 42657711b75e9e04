"""Other thresholds on what was found come to what they would have come to from the start."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.curation import CurationError, InProcess, curate, retune
from tests.curation.parts import recipe, write_clips
from tests.curation.test_curate import TEXTS, said

GRADES = st.lists(st.integers(0, 20).map(lambda grade: f"{grade / 20} thing {grade}"), min_size=1, max_size=12)
BORDERS = st.tuples(st.integers(0, 12), st.integers(8, 20)).map(lambda pair: (pair[0] / 20, pair[1] / 20))


@given(GRADES, BORDERS, BORDERS)
def test_retuned_is_as_if_it_had_been_so_from_the_start(
    lines: list[str], first: tuple[float, float], then: tuple[float, float]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = write_clips(folder / "clips", "\n".join(lines))
        for out, (least, most) in (("first", first), ("then", then)):
            curate(recipe(folder, grade={"least": least, "most": most}), clips, folder / out, InProcess())
        tried = retune(folder / "first", {"grade.least": then[0], "grade.most": then[1]}, "tried.jsonl")
        there = [json.loads(line)["instruction"] for line in (folder / "first" / "tried.jsonl").open()]
        assert there == [words for words in said(folder / "then") if words in said(folder / "first")]
        assert len(there) + tried.waiting.get("grade", 0) == len(said(folder / "then"))
        assert len(there) + sum(tried.waiting.values()) + sum(tried.after.values()) == len(lines)


def test_what_is_no_threshold_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(CurationError, match="is no folder of `omnigen2 curate`"):
        retune(out, {})
    curate(recipe(tmp_path), write_clips(tmp_path / "clips", *TEXTS), out, InProcess())
    with pytest.raises(CurationError, match=r"no threshold 'grade'\n  there are grade.least, grade.most"):
        retune(out, {"grade": 0.5})
    for name in ("../other.jsonl", "examples.jsonl", "other.txt"):
        with pytest.raises(CurationError, match="expected no slashes|is not written"):
            retune(out, {}, name)


def test_the_table_says_what_changes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    curate(recipe(tmp_path), write_clips(tmp_path / "clips", *TEXTS), out, InProcess())
    lines = retune(out, {"grade.least": 0.45, "grade.most": 1.0}).table().splitlines()
    assert "| kept | 4 | 2 |" in lines
    assert "| grade: too low | 1 | 3 |" in lines
    assert "| grade: too high | 1 | 0 |" in lines
    assert "| lines: empty | 1 | 1 |" in lines
    assert "| would go on behind grade | 0 | 1 |" in lines
