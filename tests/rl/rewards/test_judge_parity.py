"""Every scripted judge of the official programs, and what ours makes of it.

Where the official behaviour is kept, the numbers are equal. It is not kept where it is insane, and this file says what
happens instead:

- OmniContext's program asks three times whatever it was told, and the last readable answer counts; ours asks once. Its
  parser quotes bare keys and words, takes `{"score": [-3, 30]}`, grades in quotes and answers without a score.
- EditScore's `batch` parser, which its reinforcement learning uses, takes all numbers that it finds in a broken answer:
  two drafts become four grades, `8/10` becomes the grades 8 and 10. Ours reads none of these.
- EditScore asks again until it can read an answer, or counts 5; ours has passes, of which some may be missing.
- EditScore's `average_first` is not offered; from the parts of ours it is one line (below). In `evaluate` it takes the
  first grade in place of the least of two.
- A rubric for scores up to 10 is not offered; the same grades on its scale of 25 give the same scores.
- EditReward-Bench's `pair_accuracy` is no part of this library.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from omnigen2.rl import Failure, RewardRequest, Scores
from omnigen2.rl.rewards import EditScoreReward, InContextReward, Judge
from omnigen2.rl.rewards.grades import Grades, Rubric, read_grades
from omnigen2.rl.rewards.remote import ChatClient, ChatQuestion
from tests.paths import TESTS

PARITY = json.loads((TESTS / "parity" / "rewards_manifest.json").read_text())
ONE, TWO = Rubric("one", "", 1, 0, 10), Rubric("two", "", 2, 0, 25)
OMNICONTEXT = PARITY["omnicontext_parser"]["values"]
EDITSCORE = PARITY["editscore_parser"]["values"]
UNREPAIRED = (
    "{score: 6,", '{"score": "8"', '{"score": ["8"', '{"Score"', '{"score": []', '{"reasoning": "no score here"}',
    '{"score": null', "rate_limit", "{'score'", "{score: [4", '{"reasoning": "the sign', '{"score": [7, 8,]',
    "{\u201cscore", '{"score": [1, 2], "reasoning": "first"}', '{"score": [5, 6], "reasoning": "no closing', "Score: 8",
    "", "I'm sorry",
)  # fmt: skip
"""How replies begin that ours does not read, by whatever rubric."""


def ours(raw: str) -> tuple[float, ...] | str:
    """The grades by the rubric that has as many, or the cause by both."""
    found = [read_grades(raw, rubric) for rubric in (ONE, TWO)]
    read = [one.score for one in found if isinstance(one, Grades)]
    assert len(read) < 2
    return read[0] if read else "/".join(one.cause for one in found if isinstance(one, Failure))


def official(entry: dict[str, Any]) -> tuple[float, ...] | None:
    """The grades of the official parser, if they are numbers."""
    score = entry["result"].get("score") if isinstance(entry.get("result"), dict) else None
    given = score if isinstance(score, list) else [score]
    return tuple(map(float, given)) if given and all(type(one) in (int, float) for one in given) else None


def broken(raw: str) -> bool:
    return any(raw == start if not start else raw.startswith(start) for start in UNREPAIRED)


@pytest.mark.parametrize("entry", OMNICONTEXT, ids=lambda entry: entry["raw"][:30])
def test_omnicontext_s_replies(entry: dict[str, Any]) -> None:
    raw, theirs = entry["raw"], official(entry)
    if broken(raw):
        assert ours(raw) == "unreadable/unreadable"
    elif theirs is not None and min(theirs) >= 0 and max(theirs) <= 25:
        assert ours(raw) == theirs  # one grade, or two
    else:
        bare_lists = {"[6, 0]": (6, 0), "[3,9]": (3, 9)}  # the official parser takes a bare number and no bare list
        outside = {"11": "out of range/unreadable", "[1, 2, 3]": "unreadable/unreadable"}
        negative = {'{"score": [-3, 30], "reasoning": "out of range"}': "unreadable/out of range"}
        assert ours(raw) == {**bare_lists, **outside, **negative}[raw]


def test_how_many_of_omnicontext_s_replies_are_read() -> None:
    read = [found for found in (ours(entry["raw"]) for entry in OMNICONTEXT) if isinstance(found, tuple)]
    assert len(OMNICONTEXT) == 34
    assert sorted(map(len, read)) == [1] * 4 + [2] * 9


@pytest.mark.parametrize("entry", EDITSCORE, ids=lambda entry: entry["raw"][:30])
def test_editscore_s_replies_as_its_reinforcement_learning_reads_them(entry: dict[str, Any]) -> None:
    batch, found = tuple(entry["batch"]["result"]["score"]), ours(entry["raw"])
    if isinstance(found, tuple):
        assert found == batch == official(entry["single"])
    else:
        assert broken(entry["raw"]) or batch in {(11,), (1, 2, 3), (-3, 30)}


def test_numbers_out_of_broken_replies_are_no_grades() -> None:
    guessed = {entry["raw"]: entry["batch"]["result"]["score"] for entry in EDITSCORE if broken(entry["raw"])}
    assert guessed["Score: 8/10 because it is nice"] == [8, 10]
    assert [1, 2, 3, 4] in guessed.values()
    assert {ours(raw) for raw in guessed} == {"unreadable/unreadable"}


class Scripted(ChatClient):
    """Answers the first rubric from one list and the second from another, pass by pass."""

    def __init__(self, first: Sequence[str], second: Sequence[str]) -> None:
        super().__init__(["http://127.0.0.1:9"], "scripted")
        self.scripts, self.calls = (iter(first), iter(second)), 0

    def ask(self, questions: Sequence[ChatQuestion]) -> list[str | Failure]:
        self.calls += len(questions)
        return [next(self.scripts[number % 2]) for number in range(len(questions))]


def requests(count: int = 1) -> list[RewardRequest]:
    picture = torch.zeros(3, 8, 8)
    return [RewardRequest("draw it", picture, (picture,))] * count


SCRIPTS = {case["script"]: case for case in PARITY["omnicontext_scoring"]["values"]["evaluate"]}


@pytest.mark.parametrize(
    ("script", "first", "means"),
    [("clean", (7, 5), (7, 5)), ("last_wins", (1, 9), (2, 23 / 3)), ("third_fails", (4, 9), (4.5, 8.5)),
     ("sc_third_fails", (4, 9), (4.5, 8.5))],
)  # fmt: skip
def test_the_first_answer_counts_and_of_several_passes_the_mean(
    script: str, first: tuple[float, float], means: tuple[float, float]
) -> None:
    case = SCRIPTS[script]
    client = Scripted(case["pf_replies"], case["sc_replies"])
    once = InContextReward(Judge(client)).score(requests())
    three = InContextReward(Judge(Scripted(case["pf_replies"], case["sc_replies"])), 3, needed=2).score(requests())
    for scores, expected in ((once, first), (three, means)):
        found = [10 * float(scores.parts[name][0]) for name in ("prompt_following", "subject_consistency")]
        assert found == pytest.approx(expected)
    assert (client.calls, case["judge_calls"]) == (2, 6)
    last = [case["result"][f"{name}_scores"]["score"] for name in ("PF", "SC")]
    assert (last == list(first)) is (script == "clean")  # the official program lets the last readable answer win


EVALUATE = {case["name"]: case for case in PARITY["editscore_scoring"]["values"]["evaluate"]}
BATCH = {case["name"]: case for case in PARITY["editscore_scoring"]["values"]["batch_evaluate"]}


def edit_scores(case: dict[str, Any], passes: int, needed: int | None = None, times: float = 1.0) -> Scores:
    """What our reward makes of a case's replies, in its order: all passes of a picture, then the next."""
    count = len(case["result"]) if isinstance(case.get("result"), list) else 1

    def in_our_order(replies: Sequence[str]) -> list[str]:
        return [_times(replies[number * count + i], times) for i in range(count) for number in range(passes)]

    client = Scripted(in_our_order(case["sc_replies"]), in_our_order(case["pq_replies"]))
    return EditScoreReward(Judge(client), passes, needed).score(requests(count))


def _times(reply: str, factor: float) -> str:
    if factor == 1.0:
        return reply
    said = json.loads(reply)
    return json.dumps(said | {"score": [factor * grade for grade in said["score"]]})


def of_ten(scores: Scores, name: str, number: int = 0) -> float:
    return 10 * float(scores.parts[name][number])


def test_grades_up_to_ten_are_the_same_on_our_scale() -> None:
    case = EVALUATE["range10"]
    scores = edit_scores(case, 1, times=25 / case["score_range"])
    assert 10 * float(scores.value[0]) == pytest.approx(case["result"]["overall"], rel=1e-5)
    for name in ("prompt_following", "consistency", "perceptual_quality"):
        assert of_ten(scores, name) == pytest.approx(case["result"][name], rel=1e-5)


def test_average_first_is_a_line_over_our_parts() -> None:
    case = EVALUATE["three_pass_avg_first"]
    scores = edit_scores(case, 3)
    for name in ("prompt_following", "consistency", "perceptual_quality"):
        assert of_ten(scores, name) == pytest.approx(case["result"][name], rel=1e-5)
    found = math.sqrt(of_ten(scores, "prompt_following") * of_ten(scores, "perceptual_quality"))
    assert found == pytest.approx(case["result"]["overall"], rel=1e-5)
    batch = BATCH["two_pass_avg_first"]
    scores = edit_scores(batch, 2)
    for number, expected in enumerate(batch["result"]):
        both = [of_ten(scores, name, number) for name in ("semantic_consistency", "perceptual_quality")]
        assert both == pytest.approx([expected["SC_score"], expected["PQ_score"]], rel=1e-5)
        assert math.sqrt(both[0] * both[1]) / 10 == pytest.approx(expected["reward"], rel=1e-5)
        assert float(scores.value[number]) != pytest.approx(expected["reward"], rel=1e-3)  # ours averages last


def test_an_unreadable_pass_is_left_out_where_that_is_allowed() -> None:
    case = EVALUATE["retry"]
    assert edit_scores(case, 2).causes() == {"unreadable": 1}
    scores = edit_scores(case, 2, needed=1)
    assert 10 * float(scores.value[0]) == pytest.approx(case["result"]["overall"], rel=1e-5)
    for name in ("prompt_following", "consistency", "perceptual_quality"):
        assert of_ten(scores, name) == pytest.approx(case["result"][name], rel=1e-5)


def test_one_grade_of_two_is_a_failure_and_no_crash() -> None:
    case = EVALUATE["single_score"]
    assert case["raises"] == "IndexError"
    assert edit_scores(case, 1).causes() == {"unreadable": 1}
