"""Rows of a sweep: which there are, what they are called, and that going on with more of them keeps the first."""

import math
import re
import statistics
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.errors import UserError
from omnigen2.runner.plan.sweep import dotted, swept
from omnigen2.runner.recipe import Document

BASE = {
    "vars": {"lr": 0.1, "rank": 8},
    "trainer": {"max_steps": 3},
    "model": {"init_args": {"lr": "${vars.lr}", "width": 4, "optimizer": {"init_args": {"decay": 0.0}}}},
    "data": {"init_args": {"width": 4}},
}
KNOWN = dotted(BASE)
EACH: Document = {
    "lr": {"log_uniform": [1e-5, 1e-3]},
    "trainer.max_steps": {"integers": [1, 40]},
    "decay": {"uniform": [-0.5, 0.5]},
    "rank": {"choice": [8, 32]},
}
SETTINGS = ("vars.lr", "trainer.max_steps", "model.init_args.optimizer.init_args.decay", "vars.rank")
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.from_regex(r"x[\w.]{1,9}", fullmatch=True)
)
lists = st.lists(scalars, min_size=1, max_size=4, unique_by=lambda value: str(value).lower())


def drawn(count: int, seed: int = 0, values: Document = EACH) -> dict[str, Document]:
    return swept({"random": {"count": count, "seed": seed, "values": values}}, KNOWN)


@given(lists, lists)
def test_a_grid_has_each_combination_once_under_a_name_of_its_own(lrs: list[Any], steps: list[Any]) -> None:
    rows = swept({"grid": {"lr": lrs, "trainer.max_steps": steps}}, KNOWN)
    pairs = [(row["overrides"]["vars.lr"], row["overrides"]["trainer.max_steps"]) for row in rows.values()]
    assert list(map(repr, pairs)) == [repr((lr, step)) for lr in lrs for step in steps]
    assert all(re.fullmatch(r"[\w.+-]+", name) for name in rows)


@given(lists, lists)
def test_another_value_changes_no_row_of_a_grid(lrs: list[Any], ranks: list[Any]) -> None:
    fewer = swept({"grid": {"lr": lrs[:1], "rank": ranks}}, KNOWN)
    rows = swept({"grid": {"lr": lrs, "rank": ranks}}, KNOWN)
    assert {name: rows[name] for name in fewer} == fewer


@given(st.integers(), st.integers(1, 30), st.integers(0, 10))
def test_more_draws_begin_with_the_same_rows(seed: int, count: int, more: int) -> None:
    rows = drawn(count + more, seed)
    assert list(rows.items())[:count] == list(drawn(count, seed).items())
    assert len(rows) == count + more


@given(st.permutations(list(EACH)))
def test_the_draws_of_a_setting_do_not_hang_on_those_beside_it(order: list[str]) -> None:
    few = drawn(9, values={key: EACH[key] for key in ["lr", *order[:2]]})
    lrs = [row["overrides"]["vars.lr"] for row in few.values()]
    assert lrs == [row["overrides"]["vars.lr"] for row in drawn(9).values()]


def test_a_row_is_called_what_it_sets() -> None:
    rows = swept({"grid": {"lr": [1e-4, 3e-4], "rank": [8]}}, KNOWN)
    assert rows["lr-0.0003_rank-8"] == {
        "title": "lr = 0.0003, rank = 8",
        "overrides": {"vars.lr": 0.0003, "vars.rank": 8},
    }
    for name, row in drawn(50).items():
        said = [yaml.safe_load(f"[{word}]")[0] for word in re.findall(r"(?:lr|max_steps|decay|rank)-([\d.e-]+)", name)]
        assert [float(one) for one in said] == [row["overrides"][setting] for setting in SETTINGS]


def test_equal_last_names_and_values_that_have_names() -> None:
    grid: Document = {
        "model.init_args.width": [1],
        "data.init_args.width": [2],
        "lr": {"high": [1, {"a": 2}], "low": {}},
    }
    rows = swept({"grid": grid}, KNOWN)
    assert list(rows) == [f"model.init_args.width-1_data.init_args.width-2_lr-{name}" for name in ("high", "low")]
    assert [row["overrides"]["vars.lr"] for row in rows.values()] == [[1, {"a": 2}], {}]


def test_draws_lie_where_they_are_asked_for() -> None:
    rows = [row["overrides"] for row in drawn(1000).values()]
    lrs, steps, decays, ranks = ([row[setting] for row in rows] for setting in SETTINGS)
    assert 1e-5 <= min(lrs) < 1.1e-5 < 0.9e-3 < max(lrs) <= 1e-3
    assert statistics.mean(map(math.log10, lrs)) == pytest.approx(-4, abs=0.06)
    assert set(steps) == set(range(1, 41))
    assert all(type(step) is int for step in steps)
    assert -0.5 <= min(decays) < -0.49 < 0.49 < max(decays) <= 0.5
    assert statistics.mean(decays) == pytest.approx(0, abs=0.03)
    assert ranks.count(8) == pytest.approx(500, abs=50)
    assert drawn(3, seed=1) != drawn(3)


@settings(max_examples=30)
@given(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300), st.integers(0, 9))
def test_rounding_leaves_no_range(one: float, other: float, seed: int) -> None:
    ends = sorted((one, other))
    ((row),) = drawn(1, seed, {"lr": {"uniform": ends}}).values()
    assert ends[0] <= row["overrides"]["vars.lr"] <= ends[1]


def test_rows_of_each_kind_stand_beside_one_another() -> None:
    study: Document = {
        "rows": {"mine": {}},
        "grid": {"lr": [1]},
        "random": {"count": 1, "values": {"lr": {"choice": [2]}}},
    }
    assert list(swept(study, KNOWN)) == ["lr-1", "lr-2"]
    assert swept({"rows": {"mine": {}}, "grid": None}, KNOWN) == {}


def test_a_few_values_are_drawn_once_each() -> None:
    rows = drawn(60, values={"lr": {"integers": [1, 20]}, "rank": {"choice": ["a", "b", "c"]}})
    assert len(rows) == 60


GRIDS: list[tuple[Any, str]] = [
    (3, "study.grid is 3, expected settings\n  write `grid: {lr"),
    ({}, "study.grid is {}, expected settings"),
    ({"lr": []}, r"study.grid.lr is [], expected values"),
    ({"lr": 0.1}, "study.grid.lr is 0.1, expected values\n  write `[value, …]`, or name the values"),
    ({"lr": [1, 1]}, "two rows are called lr-1\n  leave one of them out"),
    ({"lr": [[0.9, 0.95]]}, "'lr-[0.9, 0.95]' cannot name a folder, which has letters"),
    ({"lr": ["a/b"]}, "cannot name a folder"),
    ({"lr": ["a" * 200]}, "200 at most\n  name the values: `{name: value, …}`"),
    ({"lrr": [1]}, "the base has no lrr; did you mean lr?\n  write the whole setting"),
    ({"width": [1]}, "width may be data.init_args.width or model.init_args.width\n  write the one"),
    ({"lr": [1], "vars.lr": [2]}, "study.grid has the setting vars.lr twice"),
    ({"seed_everything": [1]}, "every row is run with each of study.seeds"),
    (
        {"lr": [*range(101)], "rank": [*range(100)]},
        "the number of rows of study.grid is 10100, expected a whole number",
    ),
]
RANDOMS: list[tuple[Any, str]] = [
    (3, "there is no 3 in it\n  write `random: {count: 20"),
    ({"cuont": 3}, "no 'cuont' in it; did you mean count?"),
    ({"count": 0}, "study.random.count is 0, expected a whole number from 1 to 10000"),
    ({"count": True}, "study.random.count is True, expected a whole"),
    ({"count": 10**6}, "study.random.count is 1000000"),
    ({"seed": 1.5}, "study.random.seed is 1.5, expected a whole number"),
    ({"values": None}, "study.random.values is None, expected settings"),
    ({"count": 5, "values": {"lr": {"choice": [1, 2]}}}, "no more than 2 different rows\n  write `count: 2`, or give"),
]
RANGES: list[tuple[Any, str]] = [
    ([1, 2], "study.random.values.lr is [1, 2], expected one distribution\n  write one of `choice"),
    ({"uniform": [0, 1], "choice": [1]}, "expected one distribution"),
    ({"log_unifrom": [1, 2]}, "there is no distribution 'log_unifrom'; did you mean log_uniform?"),
    ({"log_uniform": [0, 1]}, "lr.log_uniform is [0, 1]: 0 has no logarithm\n  write [low, high], both above 0"),
    ({"uniform": [2, 1]}, "lr.uniform is [2, 1]: low is above high"),
    ({"uniform": [1]}, "is [1], expected two numbers: [low, high]"),
    ({"uniform": [math.nan, 1]}, "expected two numbers"),
    ({"uniform": [0, math.inf]}, "expected two numbers"),
    ({"uniform": [0, 10**400]}, "expected two numbers"),
    ({"integers": [1, 2.0]}, "expected two whole numbers"),
    ({"choice": []}, "study.random.values.lr.choice is [], expected values"),
]
MISTAKES = [
    *(({"grid": block}, words) for block, words in GRIDS),
    *(
        ({"random": {"count": 1, "values": EACH} | block if isinstance(block, dict) else block}, w)
        for block, w in RANDOMS
    ),
    *(({"random": {"count": 1, "values": {"lr": value}}}, words) for value, words in RANGES),
    ({"grid": {"lr": [1]}, "rows": {"lr-1": {}}}, "study.grid: two rows are called lr-1"),
]


@pytest.mark.parametrize(("block", "words"), MISTAKES)
def test_what_makes_no_rows_is_told(block: Document, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        swept(block, KNOWN)
