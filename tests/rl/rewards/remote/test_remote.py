"""Rewards over HTTP under faults: no score is invented, none is lost, none is given to the wrong picture."""

import asyncio
import json
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.rl import Failure, RewardError, RewardRequest
from omnigen2.rl.rewards import InContextReward, Judge
from omnigen2.rl.rewards.remote import ChatClient, Limits, RemoteReward
from omnigen2.rl.rewards.remote.server import RewardService
from tests.rl.brightness import Brightness, brightness, pictures
from tests.rl.faults import HARMLESS, LASTING, PASSING, QUICK, faulty, remote, served, truth
from tests.rl.loopback import Answer, Asked, chat_answer, loopback


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
    assert not any(problem.transient for problem in scores.problem if problem)


@pytest.mark.parametrize("fault", ["500", "drop"])
def test_a_server_that_stays_broken_gives_invalid_scores(fault: str) -> None:
    with loopback(lambda asked: faulty(fault, asked)) as server:
        scores = remote(server.url).score(pictures(2))
    assert scores.causes() == {"no answer": 2}
    assert all(problem.transient for problem in scores.problem if problem)
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


def test_what_came_before_the_deadline_counts() -> None:
    def act(asked: Asked) -> Answer:
        slow = asked.body["requests"][0]["key"] == "picture 1"
        return Answer(body=truth(asked), wait_s=3 if slow else 0)

    with loopback(act) as server:
        scores = remote(server.url, batch_size=1, limits=Limits(4, 30, 1)).score(pictures(3))
    assert scores.valid.tolist() == [True, False, True]
    assert scores.problem[1] == Failure("deadline", "not finished within 1 s", transient=True)


def test_failures_of_the_reward_itself_arrive_as_they_are() -> None:
    with loopback(lambda asked: faulty("good", asked)) as server:
        scores = remote(server.url).score([*pictures(1), *pictures(1, "fail"), *pictures(1, "nobody")])
    assert scores.problem == (
        None,
        Failure("unreadable", "told to: fail"),
        Failure("no answer", "from: nobody", transient=True),
    )


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


def test_the_probe_finds_what_is_not_ready() -> None:
    health = asyncio.run(RewardService(Brightness()).health())
    with loopback(lambda asked: Answer(body=health)) as server:
        remote(server.url).probe()
        with pytest.raises(RewardError, match="the settings here say"):
            RemoteReward([server.url]).probe()
    with pytest.raises(RewardError, match="reward server 1 of 1 is not ready .no answer: ConnectError"):
        remote(server.url).probe()
    assert Counter(asked.path for asked in server.asked) == {"/health": 2}
