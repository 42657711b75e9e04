"""Judges: what an answer means, and that nothing but an answer becomes a grade."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.rl import Failure, RewardError, RewardRequest
from omnigen2.rl.rewards import EditScoreReward, InContextReward, Judge
from omnigen2.rl.rewards.grades import Grades, Rubric, read_grades
from omnigen2.rl.rewards.remote import AnswerSettings, ChatClient, ChatQuestion
from tests.paths import TESTS
from tests.rl.loopback import Answer, Asked, chat_answer, loopback

PARITY = json.loads((TESTS / "parity" / "rewards_manifest.json").read_text())
MEAN_OF_PASSES = [
    case for case in PARITY["editscore_scoring"]["values"]["batch_evaluate"] if case["reduction"] == "average_last"
]
PAIR = Rubric("pair", "Grade.", 2, 0, 25)
NOT_REPAIRED = ("no closing brace", "smart quotes")
"""What the official parser mends without a library, and ours does not."""
READABLE_PAIRS = 9
"""How many of the manifest's raw replies have two grades from 0 to 25 that the reader takes."""


class Scripted(ChatClient):
    """Answers consistency and quality from two lists, pass by pass."""

    def __init__(self, first: Sequence[str | Failure], second: Sequence[str | Failure]) -> None:
        super().__init__(["http://127.0.0.1:9"], "scripted")
        self.first, self.second = iter(first), iter(second)
        self.questions: list[ChatQuestion] = []

    def ask(self, questions: Sequence[ChatQuestion]) -> list[str | Failure]:
        self.questions += questions
        scripts = [self.first, self.second]
        return [next(scripts[number % 2]) for number in range(len(questions))]


def edit(count: int = 1) -> list[RewardRequest]:
    picture = torch.zeros(3, 8, 8)
    return [RewardRequest("make it red", picture, (picture,), key=f"edit {i}") for i in range(count)]


def numbers(found: Any) -> list[float] | None:
    """The official parser's grades, where they are numbers."""
    score = found.get("score") if isinstance(found, dict) else None
    given = score if isinstance(score, list) else [score]
    return [float(x) for x in given] if given and all(type(x) in (int, float) for x in given) else None


REPLIES = [
    (parser, entry) for parser in ("editscore_parser", "omnicontext_parser") for entry in PARITY[parser]["values"]
]


@pytest.mark.parametrize(("parser", "entry"), REPLIES, ids=lambda one: str(one)[:40])
def test_raw_replies_are_read_as_the_official_code_does_or_not_at_all(parser: str, entry: dict[str, Any]) -> None:
    edits = parser == "editscore_parser"
    official = numbers((entry["single"] if edits else entry).get("result"))
    count = len(official or [0]) if edits else 1
    found = read_grades(entry["raw"], Rubric("any", "", count, 0, 10 if count == 1 else 25))
    if isinstance(found, Grades):
        assert list(found.score) == official
    elif edits and official is not None and found.cause == "unreadable":
        assert entry["single_needed_json_repair_library"] or any(part in entry["raw"] for part in NOT_REPAIRED)
    elif not edits and official is not None and len(official) == 1 and "bare" not in entry["raw"]:
        assert found.cause == "out of range"


def test_which_raw_replies_are_readable() -> None:
    found = [read_grades(entry["raw"], PAIR) for entry in PARITY["editscore_parser"]["values"]]
    assert sum(isinstance(one, Grades) for one in found) == READABLE_PAIRS
    assert {one.cause for one in found if isinstance(one, Failure)} == {"unreadable", "out of range"}


grades = st.floats(0, 25, allow_nan=False)


@given(st.lists(grades, min_size=2, max_size=2), st.text(max_size=30), st.sampled_from(["{}", "```json\n{}\n```"]))
def test_what_was_answered_is_what_is_read(score: list[float], reasoning: str, wrapping: str) -> None:
    text = wrapping.replace("{}", json.dumps({"reasoning": reasoning, "score": score}))
    assert read_grades(text, PAIR) == Grades(tuple(score), reasoning)


@given(st.text(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["score", "reasoning", "x"]), inner),
).map(json.dumps))  # fmt: skip
def test_nothing_but_grades_on_the_scale_is_read(text: str) -> None:
    found = read_grades(text, PAIR)
    if isinstance(found, Grades):
        assert len(found.score) == 2
        assert all(0 <= grade <= 25 for grade in found.score)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('{"score": [26, 3]}', "out of range"),
        ('{"score": [-1, 3]}', "out of range"),
        ('{"score": [1e999, 3]}', "out of range"),
        ('{"score": [NaN, 3]}', "unreadable"),
        ('{"score": [true, false]}', "unreadable"),
        ('{"score": ["8", "7"]}', "unreadable"),
        ('{"score": [8, 7], "score": [1, 1]}', "unreadable"),
        ('{"score": 8}', "unreadable"),
        ("[" * 100_000, "unreadable"),
        ("I cannot help with that.", "unreadable"),
    ],
)
def test_each_bad_answer_has_its_cause(text: str, cause: str) -> None:
    found = read_grades(text, PAIR)
    assert isinstance(found, Failure)
    assert found.cause == cause


@pytest.mark.parametrize("case", MEAN_OF_PASSES, ids=lambda case: case["name"])
def test_edit_score_parity(case: dict[str, Any]) -> None:
    requests, passes = len(case["result"]), case["num_pass"]

    def in_our_order(replies: Sequence[str]) -> Iterator[str]:
        """Ours asks all passes of a request, the official code all requests of a pass."""
        return (replies[number * requests + i] for i in range(requests) for number in range(passes))

    client = Scripted(list(in_our_order(case["sc_replies"])), list(in_our_order(case["pq_replies"])))
    scores = EditScoreReward(Judge(client), passes).score(edit(requests))
    for i, expected in enumerate(case["result"]):
        invented = case["name"] in ("missing", "out_of_range")  # by the official code
        assert bool(scores.valid[i]) is not invented
        if not invented:
            assert float(scores.value[i]) == pytest.approx(expected["reward"], rel=1e-4)
            assert float(scores.parts["semantic_consistency"][i]) == pytest.approx(expected["SC_score"] / 10, rel=1e-4)
            assert float(scores.parts["perceptual_quality"][i]) == pytest.approx(expected["PQ_score"] / 10, rel=1e-4)


@given(st.lists(st.tuples(grades, grades, grades, grades), min_size=1, max_size=3), st.data())
def test_edit_score_is_the_mean_of_geometric_means_of_minima(
    passes: list[tuple[float, ...]], data: st.DataObject
) -> None:
    broken = data.draw(st.sets(st.integers(0, len(passes) - 1)))
    needed = data.draw(st.integers(1, len(passes)))
    late = Failure("deadline", transient=True)
    first = [late if i in broken else json.dumps({"score": p[:2]}) for i, p in enumerate(passes)]
    second = [json.dumps({"score": p[2:]}) for p in passes]
    client = Scripted(first, second)
    scores = EditScoreReward(Judge(client), len(passes), needed).score(edit())
    kept = [p for i, p in enumerate(passes) if i not in broken]
    assert [question.seed for question in client.questions] == [i for i in range(len(passes)) for _ in range(2)]
    if len(kept) < needed:
        assert scores.problem == (late,)
    else:
        expected = sum(math.sqrt(min(p[:2]) * min(p[2:])) / 25 for p in kept) / len(kept)
        assert float(scores.value[0]) == pytest.approx(expected, abs=1e-6)


@given(st.integers(0, 10), st.integers(0, 10))
def test_in_context_is_the_geometric_mean(following: int, consistency: int) -> None:
    client = Scripted([f'{{"score": {following}}}'], [f'{{"reasoning": "same hat", "score": [{consistency}]}}'])
    scores = InContextReward(Judge(client)).score(edit())
    assert float(scores.value[0]) == pytest.approx(math.sqrt(following * consistency) / 10)
    assert float(scores.parts["prompt_following"][0]) == pytest.approx(following / 10)
    assert scores.reason == ("same hat",)


def test_the_judge_of_quality_sees_the_result_alone() -> None:
    client = Scripted(['{"score": [1, 1]}'], ['{"score": [1, 1]}'])
    EditScoreReward(Judge(client)).score(edit())
    assert [sum(not isinstance(part, str) for part in q.content) for q in client.questions] == [2, 1]


def test_what_cannot_be_judged_is_not_asked() -> None:
    picture = torch.full((3, 8, 8), math.nan)
    client = Scripted(['{"score": [25, 25]}'], ['{"score": [25, 25]}'])
    asked = [RewardRequest("x", torch.zeros(3, 8, 8)), RewardRequest("x", picture, (picture,)), *edit()]
    scores = EditScoreReward(Judge(client)).score(asked)
    assert scores.causes() == {"no reference": 1, "bad picture": 1}
    assert float(scores.value[2]) == 1
    assert len(client.questions) == 2


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (chat_answer("", finish_reason="length"), "cut off"),
        (chat_answer("", finish_reason="content_filter"), "refused"),
        ({"choices": [{"message": {"content": None, "refusal": "I will not."}}]}, "refused"),
        ({"choices": []}, "unreadable reply"),
        ({"error": "overloaded"}, "unreadable reply"),
    ],
)
def test_replies_without_an_answer(body: dict[str, Any], cause: str) -> None:
    with loopback(lambda asked: Answer(body=body)) as server:
        found = ChatClient([f"{server.url}/v1"], "m").ask([ChatQuestion("s", ("t",), {})])[0]
    assert isinstance(found, Failure)
    assert found.cause == cause


def test_the_server_gets_schema_pictures_seed_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "secret-key")
    settings = AnswerSettings(temperature=0.5, seed=7)
    with loopback(lambda asked: Answer(body=chat_answer('{"score": [5]}'))) as server:
        client = ChatClient([f"{server.url}/v1/"], "m", "JUDGE_KEY", image_side=16, settings=settings)
        InContextReward(Judge(client), passes=2).score(
            [RewardRequest("x", torch.zeros(3, 8, 32), (torch.zeros(3, 4, 4),))]
        )
    bodies = sorted((asked.body for asked in server.asked), key=lambda body: body["seed"])
    assert [body["seed"] for body in bodies] == [7, 7, 8, 8]
    assert {asked.path for asked in server.asked} == {"/v1/chat/completions"}
    assert {asked.headers["Authorization"] for asked in server.asked} == {"Bearer secret-key"}
    form = bodies[0]["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"]["properties"]["score"]["maxItems"] == 1
    urls = [part["image_url"]["url"] for part in bodies[0]["messages"][1]["content"] if part["type"] == "image_url"]
    assert [url[:22] for url in urls] == ["data:image/png;base64,"] * 2
    assert bodies[0]["messages"][1]["content"][2]["text"] == "Instruction: x"


def test_answer_formats_are_asked_for_as_named() -> None:
    with loopback(lambda asked: Answer(body=chat_answer("1"))) as server:
        for form in ("json_object", "text"):
            ChatClient([server.url], "m", settings=AnswerSettings(answer_format=form)).ask([ChatQuestion("s", (), {})])
    assert [asked.body.get("response_format") for asked in server.asked] == [{"type": "json_object"}, None]


def test_the_probe_tells_what_to_do() -> None:
    answers = iter([chat_answer("hm"), chat_answer('{"score": [1, 2]}')])

    def act(asked: Asked) -> Answer:
        return Answer(body=next(answers))

    with loopback(act) as server:
        reward = EditScoreReward(Judge(ChatClient([server.url], "m")))
        with pytest.raises(RewardError, match="the judge m gave no grades for a trial picture .unreadable"):
            reward.probe()
        reward.probe()


def test_another_text_is_another_version() -> None:
    assert Rubric("a", "x", 1, 0, 1).version != Rubric("a", "y", 1, 0, 1).version


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(RewardError, match="temperature of 0 to 2"):
        AnswerSettings(temperature=3)
    with pytest.raises(RewardError, match="image_side must be at least 1"):
        ChatClient(["http://a"], "m", image_side=0)
    with pytest.raises(RewardError, match="needed 3 and passes 2"):
        EditScoreReward(Judge(ChatClient(["http://a"], "m")), 2, 3)
