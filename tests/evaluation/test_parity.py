"""The official programs' numbers where they are sane, and where ours differ on purpose."""

import json
import math
from typing import Any

import pytest
import torch

from omnigen2.evaluation import EditBench, OmniContext
from omnigen2.evaluation.metrics import SUBTASKS
from omnigen2.rl import RewardRequest
from omnigen2.rl.rewards import EditScoreReward, InContextReward, Judge
from omnigen2.rl.rewards.remote import ChatClient, ChatQuestion
from tests.paths import TESTS

FOLDER = TESTS / "parity"
OURS = json.loads((FOLDER / "evaluation_manifest.json").read_text())
JUDGED = json.loads((FOLDER / "rewards_manifest.json").read_text())
AGGREGATION = OURS["omnicontext_scoring"]["values"]["aggregation"]
GEDIT = OURS["gedit_statistics"]["values"]
SCRIPTS = {case["script"]: case for case in OURS["omnicontext_scoring"]["values"]["evaluate"]}


def column(rows: list[dict[str, Any]], name: str) -> torch.Tensor:
    return torch.tensor([row[name] for row in rows], dtype=torch.float64)


def test_omnicontext_averages_as_the_official_statistics() -> None:
    metric = OmniContext()
    for task, rows in AGGREGATION["input"].items():
        kept = [row for row in rows if row["instruction_language"] == AGGREGATION["language"]]
        metric.update([task] * len(kept), column(kept, "PF_score"), column(kept, "SC_score"))
    found = metric.compute()
    for ours, theirs in (
        ("prompt_following", "pf_per_task"),
        ("subject_consistency", "sc_per_task"),
        ("overall", "overall_per_task"),
    ):
        for task in SUBTASKS:
            assert found[f"{task}/{ours}"].item() == pytest.approx(AGGREGATION[theirs][task], rel=1e-6)
    expected = dict(zip(metric.columns, AGGREGATION["average"], strict=True))
    assert {name: found[name].item() for name in metric.columns} == pytest.approx(expected, rel=1e-6)


def test_edit_bench_averages_as_the_official_statistics() -> None:
    metric = best_of_samples()
    found = metric.compute()
    for line, theirs, mean in (("SC", "semantics", "avg_semantics"), ("PQ", "quality", "avg_quality")):
        assert found[line].item() == pytest.approx(GEDIT[theirs][mean], rel=1e-6)
        for group in metric.subtasks:
            assert found[f"{group}/{line}"].item() == pytest.approx(GEDIT[theirs][group], rel=1e-6)
    assert found["O"].item() == pytest.approx(GEDIT["overall"]["avg_overall"], rel=1e-6)


def best_of_samples() -> EditBench:
    """The example keeps the better of two pictures per item, by overall score; that is the caller's business."""
    metric = EditBench()
    for group, (first, second) in GEDIT["input"].items():
        kept = [
            max(pair, key=lambda row: math.sqrt(row["semantics"] * row["quality"]))
            for pair in zip(first, second, strict=True)
            if pair[0]["language"] == GEDIT["language"]
        ]
        languages = [row["language"] for row in kept]
        metric.update([group] * len(kept), languages, column(kept, "semantics"), column(kept, "quality"))
    return metric


class Scripted(ChatClient):
    """Answers the first rubric from one list and the second from another."""

    def __init__(self, first: list[str], second: list[str]) -> None:
        super().__init__(["http://127.0.0.1:9"], "scripted")
        self.scripts = iter(first), iter(second)
        self.calls = 0

    def ask(self, questions: Any) -> list[str]:
        assert all(isinstance(question, ChatQuestion) for question in questions)
        self.calls += len(questions)
        return [next(self.scripts[number % 2]) for number in range(len(questions))]


def request() -> RewardRequest:
    picture = torch.zeros(3, 8, 8)
    return RewardRequest("draw it", picture, (picture,))


def test_a_clean_judgement_has_the_official_scores_with_a_third_of_the_calls() -> None:
    case = SCRIPTS["clean"]
    client = Scripted(case["pf_replies"], case["sc_replies"])
    scores = InContextReward(Judge(client)).score([request()])
    assert scores.parts["prompt_following"].item() * 10 == pytest.approx(case["result"]["PF_scores"]["score"])
    assert scores.parts["subject_consistency"].item() * 10 == pytest.approx(case["result"]["SC_scores"]["score"])
    assert (client.calls, case["judge_calls"]) == (2, 6)  # the official loop asks again after success


def test_an_unreadable_answer_is_no_random_score() -> None:
    case = SCRIPTS["all_fail"]
    assert "random" in case["result"]
    scores = InContextReward(Judge(Scripted(case["pf_replies"], case["sc_replies"]))).score([request()])
    assert not scores.valid.any()
    metric = OmniContext()
    one = torch.tensor([math.nan])
    metric.update(["single_object"], one, one, scores.valid)
    assert "1 of 1 judgements failed" in str(metric)


OUT_OF_RANGE = next(c for c in JUDGED["editscore_scoring"]["values"]["batch_evaluate"] if c["name"] == "out_of_range")


def test_an_answer_out_of_range_is_not_better_than_perfect() -> None:
    assert max(row["O_score"] for row in OUT_OF_RANGE["result"]) > 10
    client = Scripted(OUT_OF_RANGE["sc_replies"], OUT_OF_RANGE["pq_replies"])
    scores = EditScoreReward(Judge(client)).score([request(), request()])
    assert not scores.valid.any()
    assert scores.causes() == {"out of range": 2}


PASSES = [
    case
    for case in JUDGED["editscore_scoring"]["values"]["evaluate"]
    if case["name"] in ("one_pass", "three_pass") and case["reduction"] == "average_last"
]


@pytest.mark.parametrize("case", PASSES, ids=lambda case: case["name"])
def test_edits_have_the_official_overall_score(case: dict[str, Any]) -> None:
    reward = EditScoreReward(Judge(Scripted(case["sc_replies"], case["pq_replies"])), case["num_pass"])
    scores = reward.score([request()])
    consistency, quality = (scores.parts[name].double() * 10 for name in ("semantic_consistency", "perceptual_quality"))
    metric = EditBench()
    metric.update(["ps_human"], ["en"], consistency, quality, scores.valid, scores.value.double() * 10)
    assert metric.compute()["O"].item() == pytest.approx(case["result"]["overall"], rel=1e-5)
    assert metric.compute()["PQ"].item() == pytest.approx(case["result"]["perceptual_quality"], rel=1e-5)
