"""Comparing two results pair by pair."""

from dataclasses import replace

import pytest

from omnigen2.evaluation import compare
from omnigen2.evaluation.judging import BenchmarkResult
from omnigen2.evaluation.metrics import SUBTASKS
from tests.evaluation.cases import OMNI, PROTOCOL, record, result_of


def test_a_difference_that_is_always_there_is_clear() -> None:
    one = result_of([record(n, 3 + n % 5) for n in range(40)])
    two = result_of([record(n, 4 + n % 5) for n in range(40)], "b")
    found = compare(one, two, OMNI)
    for difference in found.differences:
        assert difference.low == pytest.approx(difference.high) == pytest.approx(1)
        assert difference.clear
    assert "differs" in found.table()
    assert found.small == ()
    same = compare(one, one, OMNI)
    assert not any(difference.clear for difference in same.differences)


def test_comparing_is_antisymmetric_and_leaves_out_what_failed_in_either() -> None:
    one = result_of([record(n, (7 * n) % 11 % 10) for n in range(24)] + [record(24, 0, valid=False)])
    two = result_of([record(n, (5 * n) % 9) for n in range(1, 25)], "b")
    forth, back = compare(one, two, OMNI), compare(two, one, OMNI)
    assert (forth.pairs, forth.items) == (23, 25)
    for a, b in zip(forth.differences, back.differences, strict=True):
        assert (a.first, a.second) == (b.second, b.first)
        assert a.low == pytest.approx(-b.high)
        assert a.low <= a.second - a.first <= a.high


def test_groups_that_are_too_small_for_intervals_are_named() -> None:
    one, two = (result_of([record(n, shift + n % 5) for n in (*range(18), 18, 20, 26)]) for shift in (1, 2))
    found = compare(one, two, OMNI)
    counts = {task: sum(r.group == task for r in one.records) for task in SUBTASKS}
    assert set(found.small) == {task for task, count in counts.items() if count < 3}
    assert f"{len(found.small)} groups have fewer than 3 pairs" in found.table()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (result_of([record(0, 1)], protocol=replace(PROTOCOL, temperature=1.0)), "temperature: 0.0 and 1.0"),
        (result_of([record(0, 1)], protocol=replace(PROTOCOL, prompt_version="2")), "prompt_version: '1' and '2'"),
        (replace(result_of([record(0, 1)]), benchmark="gedit"), "omnicontext and gedit"),
        (result_of([record(3, 1)]), "no item is valid in both"),
    ],
)
def test_what_cannot_be_compared_is_refused(other: BenchmarkResult, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare(result_of([record(0, 1)]), other, OMNI)
