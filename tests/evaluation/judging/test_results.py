"""The journal and result files."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.evaluation.judging import BenchmarkResult, Journal, Record
from tests.evaluation.cases import record, result_of


@given(cut=st.integers(1, 400))
def test_a_journal_that_was_cut_off_goes_on(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("journal") / "judgements.jsonl"
    records = [Record("g", "en", "k", f"d{n}", {"a": 1.0}) for n in range(4)]
    Journal(path).add(records)
    path.write_bytes(path.read_bytes()[:-cut])
    journal = Journal(path)
    kept = len(journal)
    assert kept < 4
    journal.add(records[kept:])
    assert len(Journal(path)) == 4


def test_a_result_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    result = result_of([record(0, 3.5), record(1, 0, valid=False)])
    result.save(tmp_path / "result.json")
    assert BenchmarkResult.load(tmp_path) == BenchmarkResult.load(tmp_path / "result.json") == result


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"protocol": None}, "does not say how its pictures were judged"),
        ({"protocol": {"model": "x"}}, "expected the fields judge, model"),
        ({"format": 9}, "format 9, expected 1"),
        ({"records": [{"key": "x"}]}, "record 1 has no scores, expected an object"),
        ({"records": [record(0, 1).to_json()] * 2}, "record 2: the item .* comes again"),
        (
            {"records": [{**record(0, 1).to_json(), "scores": {"a": "b"}}]},
            'record 1, scores, has a "b", expected a number',
        ),
        ({"benchmark": 3}, "result.json has benchmark 3, expected text"),
    ],
)
def test_result_files_that_mean_nothing_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "result.json"
    result_of([record(0, 1)]).save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        BenchmarkResult.load(path)
