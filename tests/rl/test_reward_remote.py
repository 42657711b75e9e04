"""Rewards over HTTP under faults: no score is invented, none is lost, none is given to the wrong picture."""

import asyncio
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.rl.reward import Failure, RewardError, RewardRequest
from omnigen2.rl.rewards.chat import ChatClient, ChatQuestion
from omnigen2.rl.rewards.in_context import InContextReward
from omnigen2.rl.rewards.judge import Judge
from omnigen2.rl.rewards.remote import RemoteReward
from omnigen2.rl.rewards.server import RewardService, ServerLimits
from omnigen2.rl.rewards.transport import JsonPoster, Limits
from tests.rl.brightness import Brightness, brightness, pictures
from tests.rl.loopback import Answer, Asked, Loopback, chat_answer, loopback

QUICK = Limits(concurrency=4, timeout_s=0.4, deadline_s=20, attempts=4, backoff_s=0.001)
PASSING = ("drop", "truncate", "500", "503", "429", "slow", "drip")
"""Faults after which it is asked again."""
LASTING = (
    "garbage",
    "list",
    "short",
    "long",
    "nan",
    "swapped",
    "stale",
    "outside",
    "text",
    "400",
    "no parts",
    "nan part",
    "inf part",
    "true",
)
"""Replies that are no scores of these pictures."""
HARMLESS = ("shuffled", "good")


def truth(asked: Asked) -> dict[str, Any]:
    """What an honest server answers."""
    return RewardService(Brightness(), ServerLimits()).score(json.dumps(asked.body).encode())


def faulty(kind: str, asked: Asked) -> Answer:
    """One fault, made of the honest answer."""
    honest = truth(asked)
    scores = honest["scores"]
    match kind:
        case "drop" | "truncate":
            return Answer(body=honest, fault=kind)
        case "drip":
            return Answer(body=honest, fault=kind)
        case "slow":
            return Answer(body=honest, wait_s=0.6)
        case "500" | "503" | "429" | "400":
            return Answer(int(kind), {"error": "no"})
        case "garbage":
            return Answer(body=b"\x00\xff{")
        case "list":
            return Answer(body=scores)
        case "short":
            return Answer(body={"scores": scores[:-1]})
        case "long":
            return Answer(body={"scores": [*scores, scores[0]]})
        case "nan":
            return Answer(body={"scores": [score | {"value": float("nan")} for score in scores]})
        case "nan part" | "inf part":
            return Answer(body={"scores": [score | {"parts": {"red": float(kind[:3])}} for score in scores]})
        case "swapped":
            digests = [score["digest"] for score in scores]
            turned = [score | {"digest": digests[i - 1] + "x"} for i, score in enumerate(scores)]
            return Answer(body={"scores": turned})
        case "stale":
            return Answer(body={"scores": [score | {"id": "0123-0"} for score in scores]})
        case "outside":
            return Answer(body={"scores": [score | {"value": 12.5} for score in scores]})
        case "text":
            return Answer(body={"scores": [score | {"value": "0.9"} for score in scores]})
        case "true":
            return Answer(body={"scores": [score | {"value": True} for score in scores]})
        case "no parts":
            return Answer(body={"scores": [score | {"parts": {}} for score in scores]})
        case "shuffled":
            random.Random(0).shuffle(scores)
            return Answer(body=honest)
        case "good":
            return Answer(body=honest)
    raise AssertionError(kind)


def remote(*urls: str, batch_size: int = 2, limits: Limits = QUICK, **more: Any) -> RemoteReward:
    return RemoteReward(urls, -1, 1, ["red"], batch_size, limits=limits, **more)


@contextmanager
def served(*acts: Callable[[Asked], Answer]) -> Iterator[list[Loopback]]:
    """Several servers."""
    servers = [Loopback(act) for act in acts]
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


@given(st.lists(st.sampled_from([*PASSING[:5], *LASTING, *HARMLESS]), max_size=6), st.integers(1, 6), st.integers(1, 3))
def test_no_score_is_invented_lost_or_given_to_another_picture(faults: list[str], count: int, batch: int) -> None:
    script = iter(faults)
    with loopback(lambda asked: faulty(next(script, "good"), asked)) as server:
        requests = pictures(count)
        scores = remote(server.url, batch_size=batch).score(requests)
    assert len(scores) == count
    for i, request in enumerate(requests):
        if scores.valid[i]:
            assert float(scores.value[i]) == pytest.approx(brightness(request), abs=1e-6)
            assert float(scores.parts["red"][i]) == pytest.approx(brightness(request), abs=1e-6)
        else:
            assert scores.problem[i]
    if not set(faults) - set(HARMLESS):
        assert bool(scores.valid.all())


@pytest.mark.parametrize("fault", PASSING)
def test_passing_faults_lose_nothing(fault: str) -> None:
    script = iter([fault, fault])
    with loopback(lambda asked: faulty(next(script, "good"), asked)) as server:
        requests = pictures(2)
        scores = remote(server.url).score(requests)
    assert bool(scores.valid.all())
    assert scores.value.tolist() == pytest.approx([brightness(request) for request in requests], abs=1e-6)


@pytest.mark.parametrize("fault", LASTING)
def test_replies_that_are_no_scores_are_invalid_and_not_asked_again(fault: str) -> None:
    with loopback(lambda asked: faulty(fault, asked)) as server:
        scores = remote(server.url).score(pictures(2))
    assert not bool(scores.valid.any())
    assert len(server.asked) == 1
    assert set(scores.causes()) <= {"bad reply", "unreadable reply", "status 400"}


@pytest.mark.parametrize("fault", ["500", "drop"])
def test_a_server_that_stays_broken_gives_invalid_scores(fault: str) -> None:
    with loopback(lambda asked: faulty(fault, asked)) as server:
        scores = remote(server.url).score(pictures(2))
    assert scores.causes() == {"no answer": 2}
    assert len(server.asked) == QUICK.attempts
    assert server.url.rpartition(":")[2] not in str(scores.problem)


def test_a_server_that_dies_midway_loses_nothing() -> None:
    requests = pictures(24)
    answered = 0

    def dying(asked: Asked) -> Answer:
        nonlocal answered
        answered += 1
        return faulty("good" if answered <= 2 else "drop", asked)

    with served(dying, lambda asked: faulty("good", asked)) as (first, second):
        scores = remote(first.url, second.url, batch_size=1).score(requests)
        first.stop()
        again = remote(first.url, second.url, batch_size=1).score(requests)
    expected = [brightness(request) for request in requests]
    for found in (scores, again):
        assert found.value.tolist() == pytest.approx(expected, abs=1e-6)
    assert 3 <= len(first.asked) <= 8  # those under way at once fail, then it rests
    assert len(second.asked) >= 40


def test_work_is_spread_over_the_servers() -> None:
    with served(*[lambda asked: Answer(body=truth(asked), wait_s=0.02)] * 3) as servers:
        remote(*(server.url for server in servers), batch_size=1).score(pictures(18))
    assert min(len(server.asked) for server in servers) >= 3


def test_no_more_than_the_limit_are_under_way() -> None:
    under_way, most = 0, 0

    def act(asked: Asked) -> Answer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        time.sleep(0.02)
        under_way -= 1
        return Answer(body=truth(asked))

    with loopback(act) as server:
        remote(server.url, batch_size=1, limits=Limits(3, 5, 20)).score(pictures(12))
    assert most == 3


def test_a_server_that_names_a_time_is_left_alone_until_then() -> None:
    script = iter([Answer(429, headers={"Retry-After": "1"})])
    with loopback(lambda asked: next(script, Answer(body={"ok": 1}))) as server:
        assert JsonPoster([server.url], QUICK).post_all("/x", [dict]) == [{"ok": 1}]
    assert server.asked[1].time - server.asked[0].time >= 1


def test_the_deadline_ends_everything() -> None:
    start = time.monotonic()
    limits = Limits(2, timeout_s=30, deadline_s=0.5)
    with loopback(lambda asked: Answer(body={"x": "y" * 500}, fault="drip")) as server:
        scores = remote(server.url, limits=limits).score(pictures(6))
    assert scores.causes() == {"deadline": 6}
    assert time.monotonic() - start < 5


def test_what_came_before_the_deadline_counts() -> None:
    def act(asked: Asked) -> Answer:
        slow = asked.body["requests"][0]["key"] == "picture 1"
        return Answer(body=truth(asked), wait_s=3 if slow else 0)

    with loopback(act) as server:
        scores = remote(server.url, batch_size=1, limits=Limits(4, 30, 1)).score(pictures(3))
    assert scores.valid.tolist() == [True, False, True]


def test_failures_of_the_reward_itself_arrive_as_they_are() -> None:
    with loopback(lambda asked: faulty("good", asked)) as server:
        scores = remote(server.url).score([*pictures(1), *pictures(1, "fail")])
    assert scores.problem == (None, "unreadable: told to: fail")


def test_pictures_that_are_no_numbers_are_not_sent() -> None:
    broken = RewardRequest("x", torch.full((3, 2, 2), float("nan")))
    with loopback(lambda asked: faulty("good", asked)) as server:
        scores = remote(server.url).score([broken, *pictures(2)])
    assert scores.causes() == {"bad picture": 1}
    assert scores.valid.tolist() == [False, True, True]


def test_it_works_where_an_event_loop_is_running() -> None:
    async def notebook() -> list[bool]:
        return remote(server.url).score(pictures(2)).valid.tolist()

    with loopback(lambda asked: faulty("good", asked)) as server:
        assert asyncio.run(notebook()) == [True, True]


@given(
    st.lists(st.sampled_from(["drop", "truncate", "500", "429", "words", "empty", "wrong shape", "good"]), max_size=5)
)
@settings(max_examples=10)
def test_judges_under_faults_give_grades_of_their_own_pictures_only(faults: list[str]) -> None:
    script = iter(faults)

    def act(asked: Asked) -> Answer:
        said = next(part["text"] for part in asked.body["messages"][1]["content"] if "Instruction" in str(part))
        honest = chat_answer(json.dumps({"reasoning": "", "score": [int(said.rpartition(" ")[2])]}))
        match next(script, "good"):
            case "drop" | "truncate" as fault:
                return Answer(body=honest, fault=fault)
            case "500" | "429" as status:
                return Answer(int(status))
            case "words":
                return Answer(body=chat_answer("It is lovely, 9 of 10."))
            case "empty":
                return Answer(body=b"")
            case "wrong shape":
                return Answer(body=chat_answer('{"score": [1, 2, 3]}'))
            case _:
                return Answer(body=honest)

    with loopback(act) as server:
        reward = InContextReward(Judge(ChatClient([server.url], "m", limits=QUICK)))
        picture = torch.zeros(3, 4, 4)
        scores = reward.score([RewardRequest(f"give {i}", picture, (picture,)) for i in range(4)])
    for i in range(4):
        assert not scores.valid[i] or float(scores.value[i]) == pytest.approx(i / 10)
    lasting = sum(fault in ("words", "empty", "wrong shape") for fault in faults)
    assert int((~scores.valid).sum()) <= lasting + (len(faults) >= QUICK.attempts)


def test_the_key_is_in_no_message_and_no_log(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    caplog.set_level(logging.DEBUG)
    answers = iter([Answer(401, {"error": "bad key sk-very-secret"}), Answer(500, {"error": "sk-very-secret"})])
    with loopback(lambda asked: next(answers, Answer(fault="drop"))) as server:
        client = ChatClient([server.url], "m", "JUDGE_KEY", limits=QUICK)
        failures = client.ask([ChatQuestion("s", ("t",), {})] * 3)
        with pytest.raises(RewardError) as error:
            InContextReward(Judge(client)).probe()
    assert all(isinstance(failure, Failure) for failure in failures)
    assert "***" in str(failures)
    for text in (str(failures), str(error.value), caplog.text, repr(client), repr(vars(client.poster))):
        assert "sk-very-secret" not in text
    assert {asked.headers["Authorization"] for asked in server.asked} == {"Bearer sk-very-secret"}


def test_a_key_that_is_not_set_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(RewardError, match="JUDGE_KEY has no usable key"):
        ChatClient(["http://127.0.0.1:9"], "m", "JUDGE_KEY").ask([])


@pytest.mark.parametrize(
    "url", ["127.0.0.1:80", "ftp://a", "http://user:pw@a", "http://a?key=1", "http://a:99999", "http://"]
)
def test_urls_that_cannot_be_used_are_refused_unseen(url: str) -> None:
    with pytest.raises(RewardError, match="URL 1 of 1 cannot be used") as error:
        RemoteReward([url])
    assert "pw" not in str(error.value)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(RewardError, match="no server is named"):
        RemoteReward([])
    with pytest.raises(RewardError, match="low < high and a batch of at least 1"):
        RemoteReward(["http://a"], batch_size=0)
    with pytest.raises(RewardError, match="all limits must be positive"):
        Limits(attempts=0)


def test_the_probe_finds_what_is_not_ready() -> None:
    def act(asked: Asked) -> Answer:
        return Answer(body=RewardService(Brightness(), ServerLimits()).health())

    with loopback(act) as server:
        remote(server.url).probe()
        with pytest.raises(RewardError, match="the settings here say"):
            RemoteReward([server.url]).probe()
    with pytest.raises(RewardError, match="reward server 1 of 1 is not ready .no answer: ConnectError"):
        remote(server.url).probe()
    assert Counter(asked.path for asked in server.asked) == {"/health": 2}
