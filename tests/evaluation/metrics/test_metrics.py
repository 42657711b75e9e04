"""The laws of the benchmarks' metrics."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.evaluation import EditBench, GenEval, GroupedMean, OmniContext, Share
from omnigen2.evaluation.metrics import TAGS
from omnigen2.evaluation.metrics.edit import GEDIT_LANGUAGES, GEDIT_SUBTASKS


@dataclass(frozen=True)
class Sample:
    group: str
    language: str
    first: float
    second: float
    valid: bool


samples = st.builds(
    Sample,
    st.sampled_from(GEDIT_SUBTASKS),
    st.sampled_from(GEDIT_LANGUAGES),
    st.floats(0, 10),
    st.floats(0, 10),
    st.booleans(),
)
lists = st.lists(samples, max_size=30)


def edit(given_: list[Sample]) -> EditBench:
    return fed(EditBench(), given_)


def fed(metric: EditBench, given_: list[Sample]) -> EditBench:
    """One update; scores of failed judgements are not numbers."""
    first, second = (
        torch.tensor([getattr(s, name) if s.valid else math.nan for s in given_], dtype=torch.float64)
        for name in ("first", "second")
    )
    valid = torch.tensor([s.valid for s in given_], dtype=torch.bool)
    metric.update([s.group for s in given_], [s.language for s in given_], first, second, valid)
    return metric


def same(one: GroupedMean, other: GroupedMean) -> None:
    left, right = one.compute(), other.compute()
    assert left.keys() == right.keys()
    for name, value in left.items():
        torch.testing.assert_close(value, right[name], rtol=1e-12, atol=1e-12, equal_nan=True)


@given(given_=lists, order=st.randoms(use_true_random=False))
def test_permuting_samples_changes_nothing(given_: list[Sample], order: Any) -> None:
    shuffled = list(given_)
    order.shuffle(shuffled)
    same(edit(given_), edit(shuffled))


@given(given_=lists, more=samples)
def test_a_failed_judgement_changes_no_mean_and_is_counted(given_: list[Sample], more: Sample) -> None:
    failed = Sample(more.group, more.language, 0, 0, valid=False)
    before, after = edit(given_).summary(), edit([*given_, failed]).summary()
    for old, new in zip(before.lines, after.lines, strict=True):
        assert {k: str(v) for k, v in old.values.items()} == {k: str(v) for k, v in new.values.items()}
        assert old.valid == new.valid
    assert after.result.total == before.result.total + 1
    assert after.failed == before.failed + 1
    assert f"{after.failed} of {after.result.total} judgements failed" in str(after)
    assert f"{after.result.valid} / {after.result.total}" in after.table()


@given(given_=lists, cut=st.integers(0, 30))
def test_two_shards_are_one(given_: list[Sample], cut: int) -> None:
    first, second = edit(given_[:cut]), edit(given_[cut:])
    first.merge_state(second)
    same(first, edit(given_))
    same(fed(edit(given_[:cut]), given_[cut:]), edit(given_))


@given(given_=lists)
def test_means_are_what_they_say(given_: list[Sample]) -> None:
    valid = [s for s in given_ if s.valid]
    means = []
    for group in GEDIT_SUBTASKS:
        scores = [math.sqrt(s.first * s.second) for s in valid if s.group == group]
        if scores:
            means.append(sum(scores) / len(scores))
    found = edit(given_).compute()
    expected = sum(means) / len(means) if means else math.nan
    torch.testing.assert_close(found["O"].item(), expected, equal_nan=True)
    assert found["valid"] == len(valid)
    assert found["total"] == len(given_)


strange = st.sampled_from([math.nan, math.inf, -math.inf])
out_of_range = st.one_of(st.floats(-1e30, -0.001), st.floats(10.001, 1e30), strange)


@given(score=out_of_range, second=st.booleans())
def test_scores_out_of_range_are_refused(score: float, second: bool) -> None:
    scores = [torch.tensor([5.0, 5.0, 5.0]), torch.tensor([5.0, 5.0, 5.0])]
    scores[second][1] = score
    metric = OmniContext()
    with pytest.raises(ValueError, match=r"of sample 1 is .*, expected 0 to 10; mark a failed"):
        metric.update(["single_object"] * 3, *scores)
    assert metric.summary().result.total == 0
    metric.update(["single_object"] * 3, *scores, torch.tensor([True, False, True]))
    assert metric.summary().result.values["overall"] == 5


@given(tags=st.lists(st.tuples(st.sampled_from(TAGS), st.booleans()), min_size=1, max_size=30))
def test_geneval_is_the_mean_of_tag_means(tags: list[tuple[str, bool]]) -> None:
    metric = GenEval()
    metric.update([tag for tag, _ in tags], torch.tensor([float(hit) for _, hit in tags]))
    shares = [[hit for name, hit in tags if name == tag] for tag in TAGS]
    means = [sum(share) / len(share) for share in shares if share]
    assert metric.compute()["correct"].item() == pytest.approx(sum(means) / len(means))


def test_geneval_takes_shares_only_if_asked() -> None:
    with pytest.raises(ValueError, match=r"got 0\.5.*graded=True"):
        GenEval().update(["colors"], torch.tensor([0.5], dtype=torch.float64))
    metric = GenEval(graded=True)
    metric.update(["colors"], torch.tensor([0.5]))
    assert metric.compute()["graded"] == 0.5


def test_an_empty_group_is_missing_and_no_zero() -> None:
    metric = GenEval()
    metric.update(["colors", "counting"], torch.tensor([1.0, 1.0]), torch.tensor([True, False]))
    assert metric.compute()["correct"] == 1
    assert "5 of 6 subtasks have no valid judgement" in str(metric)
    assert "counting/correct" in metric.compute()
    assert "position/correct" not in metric.compute()
    assert "GenEval: correct – (valid 0 / 0, 0 of 6 subtasks)." in str(GenEval())


def test_several_passes_bring_their_own_overall_score() -> None:
    metric = OmniContext()
    overall = torch.tensor([3.0, math.nan])
    four, nine = torch.tensor([4.0, 4.0]), torch.tensor([9.0, 9.0])
    metric.update(["single_object"] * 2, four, nine, None, overall)
    assert metric.compute()["overall"] == (3 + 6) / 2


@pytest.mark.parametrize(
    ("update", "message"),
    [
        (lambda: GenEval().update(["colour"], torch.ones(1)), "no group 'colour'; the groups are single_object"),
        (lambda: GenEval().update(["colors"], torch.ones(2)), "1 groups, 2 scores and no flags"),
        (lambda: EditBench().update(["x"], ["en"], torch.ones(1), torch.ones(1)), "no subtask 'x'"),
        (lambda: EditBench().update(["ps_human"], ["fr"], torch.ones(1), torch.ones(1)), "no language 'fr'"),
        (lambda: EditBench().update(["ps_human"], [], torch.ones(1), torch.ones(1)), "1 subtasks and 0 languages"),
        (lambda: Share("t", ["a", "a"], "x"), "names that differ"),
    ],
)
def test_what_does_not_fit_is_refused(update: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        update()


def test_summaries_are_plain_data_and_looked_up_by_name() -> None:
    summary = edit([Sample("ps_human", "en", 4, 9, valid=True)]).summary()
    assert summary["ps_human"].values["O"] == 6
    assert summary.to_json()["lines"][0]["values"] == {"SC": 4, "PQ": 9, "O": 6}
    with pytest.raises(KeyError, match="no line 'pshuman'; it has background_change"):
        summary["pshuman"]


SHARDS = (
    [Sample("ps_human", "en", 0.1 * k, 9.7, valid=k % 3 != 0) for k in range(7)],
    [Sample("text_change", "cn", 3.3, 0.7 * k, valid=True) for k in range(2)],
)
"""Uneven, and with other groups."""


def _rank(rank: int, port: int, out: Any) -> None:
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    metric = edit(SHARDS[rank])
    out.put((rank, {name: value.item() for name, value in metric.compute().items()}, str(metric)))
    torch.distributed.destroy_process_group()


def test_two_processes_with_uneven_shards_are_one() -> None:
    port = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False).port
    context = mp.get_context("fork")
    out = context.SimpleQueue()
    workers = [context.Process(target=_rank, args=(rank, port, out)) for rank in range(2)]
    for worker in workers:
        worker.start()
    found = [out.get() for _ in workers]
    for worker in workers:
        worker.join(60)
    alone = edit([*SHARDS[0], *SHARDS[1]])
    expected = {name: value.item() for name, value in alone.compute().items()}
    for _, values, said in found:
        assert values == pytest.approx(expected, rel=1e-12)
        assert said == str(alone)
