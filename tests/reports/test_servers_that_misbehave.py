"""Servers and clients of rewards that break, lie, drip or ask for too much: nobody waits for ever, no score is wrong.

Situation: several reward servers, one of them of another version or broken; `omnigen2 reward serve` that others can
reach; a probe at the start of a training. All with real servers on loopback.
"""

import json
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import torch

from omnigen2.pictures import from_base64, to_base64
from omnigen2.rl import Failure, RewardError, RewardRequest
from omnigen2.rl.rewards.remote import ChatClient, ChatQuestion, Limits, RemoteReward
from omnigen2.rl.rewards.remote.replies import LONGEST_WAIT_S, retry_after
from omnigen2.rl.rewards.remote.server import ServerLimits
from omnigen2.rl.rewards.remote.transport import JsonPoster
from omnigen2.rl.rewards.remote.wire import pack_request
from tests.rl.brightness import brightness, pictures
from tests.rl.faults import QUICK, faulty, remote, served, truth
from tests.rl.loopback import Answer, Asked, chat_answer, loopback
from tests.rl.served import serving


def honest(asked: Asked) -> Answer:
    return Answer(body=truth(asked), wait_s=0.02)


@pytest.mark.parametrize("fault", ["garbage", "short", "swapped", "nan", "true", "outside", "400", "404", "key twice"])
def test_a_fast_broken_server_draws_no_picture_away_from_an_honest_one(fault: str) -> None:
    def broken(asked: Asked) -> Answer:
        match fault:
            case "404":
                return Answer(404, {"error": "no such page"})
            case "key twice":
                return Answer(body=twice(asked))
            case _:
                return faulty(fault, asked)

    requests = pictures(22)
    with served(broken, honest) as (first, second):
        reward = remote(first.url, second.url, batch_size=1)
        scores = reward.score(requests)
        asked = len(first.asked)
        again = reward.score(requests[:4])
        assert len(first.asked) == asked  # it rests, also for the next batch
    for found, wanted in ((scores, requests), (again, requests[:4])):
        assert found.value.tolist() == pytest.approx([brightness(request) for request in wanted], abs=1e-6)
    assert asked <= QUICK.concurrency
    assert len(second.asked) == 26


def twice(asked: Asked) -> bytes:
    """An honest reply, in which each value is followed by another one."""
    return json.dumps(truth(asked)).replace('"parts"', '"value": 0.25, "parts"').encode()


def test_a_score_that_is_given_twice_is_none() -> None:
    with loopback(lambda asked: Answer(body=twice(asked))) as server:
        scores = remote(server.url).score(pictures(2))
    assert scores.causes() == {"unreadable reply": 2}


def test_servers_that_are_all_broken_end_with_the_last_bad_answer() -> None:
    def act(asked: Asked) -> Answer:
        return faulty("short", asked)

    with served(act, act) as servers:
        scores = remote(*(server.url for server in servers), batch_size=4).score(pictures(4))
    assert scores.causes() == {"bad reply": 4}
    assert [len(server.asked) for server in servers] == [1, 1]


def test_an_answer_of_another_program_is_asked_of_the_next_judge_and_a_refusal_is_not() -> None:
    question = ChatQuestion("s", ("t",), {})
    with served(lambda asked: Answer(body={"ok": 1}), lambda asked: Answer(body=chat_answer("7"))) as servers:
        assert ChatClient([server.url for server in servers], "m", limits=QUICK).ask([question]) == ["7"]
    refusal = {"choices": [{"message": {"content": None, "refusal": "I will not."}}]}
    with served(lambda asked: Answer(body=refusal), lambda asked: Answer(body=chat_answer("7"))) as servers:
        found = ChatClient([server.url for server in servers], "m", limits=QUICK).ask([question])
    assert found == [Failure("refused", "I will not.")]


@pytest.mark.parametrize(("size", "problem"), [(100, "nothing in time from server 1 of 1"), (0, "ConnectError")])
def test_a_probe_ends_and_names_the_server(size: int, problem: str) -> None:
    with loopback(lambda asked: Answer(body={"x": "y" * size}, fault="drip")) as server:
        if not size:
            server.stop()
        start = time.monotonic()
        with pytest.raises(RewardError, match=f"reward server 1 of 1 is not ready .no answer: {problem}"):
            remote(server.url).probe()
        assert time.monotonic() - start < 3 * QUICK.timeout_s
        assert JsonPoster([server.url], QUICK).get_each("/x") == [
            Failure("no answer", f"{problem.partition(' from')[0]} from server 1 of 1", transient=True)
        ]


def test_a_probe_does_not_read_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnigen2.rl.rewards.remote.transport.MAX_REPLY_BYTES", 1000)
    with (
        loopback(lambda asked: Answer(body={"x": "y" * 5000})) as server,
        pytest.raises(RewardError, match="more than 1000 bytes"),
    ):
        remote(server.url).probe()


@pytest.mark.parametrize(
    ("named", "seconds"),
    [
        ("7", 7),
        ("9" * 400, LONGEST_WAIT_S),
        ("100000", LONGEST_WAIT_S),
        ("-5", 0),
        ("nan", 0),
        ("inf", 0),
        ("1e9", 0),
        ("2.5", 2.5),
        (f"{'9' * 400}.5", LONGEST_WAIT_S),
        ("²", 0),
        ("Wed, 21 Oct 2420 07:28:00 GMT", LONGEST_WAIT_S),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 99 Foo 2040 00:00:00 GMT", 0),
    ],
)
def test_a_server_cannot_send_its_clients_away_for_ever(named: str, seconds: float) -> None:
    answer = httpx.Response(429, headers=[(b"Retry-After", named.encode("latin-1"))])
    assert retry_after(answer) == seconds


def test_a_server_that_asked_for_a_year_rests_for_minutes() -> None:
    with served(lambda asked: Answer(429, headers={"Retry-After": "31536000"}), honest) as (first, second):
        reward = remote(first.url, second.url)
        assert bool(reward.score(pictures(2)).valid.all())
        assert max(reward.poster._rests_until) <= time.monotonic() + LONGEST_WAIT_S  # pyright: ignore[reportPrivateUsage]


def request(side: int, references: int = 0, name: str = "a-0") -> dict[str, Any]:
    picture = torch.zeros(3, side, side)
    return pack_request(RewardRequest("x", picture, (picture,) * references), name)


@pytest.mark.parametrize(
    ("requests", "problem"),
    [
        ([request(10, 5)], "too many pixels together"),
        ([request(10, 0, f"a-{i}") for i in range(5)], "too many pixels together"),
        ([request(2, 9)], "got 9 references, at most 8"),
        ([request(2, 5, f"a-{i}") for i in range(2)], "got 10 references, at most 8"),
        ([request(21)], "at most 400"),
    ],
)
def test_what_a_call_asks_for_is_counted_as_a_whole(requests: list[dict[str, Any]], problem: str) -> None:
    limits = ServerLimits(references=8, pixels=400, call_pixels=450)
    with serving(limits=limits) as url:
        answer = httpx.post(f"{url}/score", json={"requests": requests})
        assert answer.status_code == 422, answer.text
        assert problem in answer.text
        fitting = {"requests": [request(10, 3), request(5, 1, "a-1")]}  # 450 pixels and 4 references, exactly
        assert httpx.post(f"{url}/score", json=fitting).status_code == 200


def test_json_that_would_grow_in_memory_is_not_read() -> None:
    with serving(limits=ServerLimits(marks=50)) as url:
        answer = httpx.post(f"{url}/score", content=json.dumps({"requests": [[]] * 60}))
        assert (answer.status_code, "more than 50 commas and brackets" in answer.text) == (422, True)
        assert httpx.post(f"{url}/score", json={"requests": [request(2)] * 3}).status_code == 200


def test_what_a_server_says_when_it_has_no_answer_is_told_without_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE", "sk-1")
    refusal = {"error": {"code": "insufficient_quota", "message": "You have no credit, sk-1"}}
    with loopback(lambda asked: Answer(429, refusal)) as server:
        (found,) = ChatClient([server.url], "m", "JUDGE", limits=QUICK).ask([ChatQuestion("s", ("t",), {})])
    assert isinstance(found, Failure)
    assert "status 429" in found.detail
    assert "insufficient_quota" in found.detail
    assert "sk-1" not in found.detail


def test_a_server_that_is_asked_again_is_waited_for_though_another_one_is_awake() -> None:
    """One server gives bad answers and has rested long enough, the other one is told to be asked again."""
    quick = Limits(attempts=3, backoff_s=0.2, timeout_s=5)
    with served(lambda asked: Answer(400), lambda asked: Answer(503, wait_s=0.05)) as (bad, busy):
        poster = JsonPoster([bad.url, busy.url], quick)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("omnigen2.rl.rewards.remote.transport.REST_S", 0.02)
            poster.post_all("/x", [dict])
    times = [one.time for one in busy.asked]
    assert len(times) == 3
    assert times[1] - times[0] > 0.14  # 0.05 of the server, and at least half of 0.2


def test_a_picture_that_lies_about_its_size_is_not_decoded() -> None:
    item = request(8)
    png = bytearray(from_base64(item["image"]))
    png[16:24] = (60000).to_bytes(4) * 2
    with serving(limits=ServerLimits()) as url:
        item["image"] = to_base64(bytes(png))
        assert httpx.post(f"{url}/score", json={"requests": [item]}).status_code == 422


@contextmanager
def half_sent(url: str, count: int, size: int = 1000) -> Generator[list[socket.socket]]:
    """Calls whose bodies break off without an end."""
    clients = [socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) for _ in range(count)]
    try:
        for client in clients:
            head = f"POST /score HTTP/1.1\r\nHost: here\r\nContent-Length: {2 * size}\r\n\r\n"
            client.sendall(head.encode() + b" " * size)
        yield clients
    finally:
        for client in clients:
            client.close()


def waits_for(url: str, said: str) -> None:
    end = time.monotonic() + 5
    while said not in (metrics := httpx.get(f"{url}/metrics").text):
        assert time.monotonic() < end, metrics


def test_half_sent_calls_hold_no_places_for_ever() -> None:
    with serving(limits=ServerLimits(waiting=2, arrival_s=0.5)) as url, half_sent(url, 2) as clients:
        waits_for(url, "waiting 2")
        assert httpx.post(f"{url}/score", json={"requests": [request(2)]}).status_code == 429
        assert clients[0].recv(100).startswith(b"HTTP/1.1 408")
        waits_for(url, "waiting 0")
        assert httpx.post(f"{url}/score", json={"requests": [request(2)]}).status_code == 200


def test_the_bodies_of_all_calls_are_counted_together() -> None:
    with serving(limits=ServerLimits(waiting_bytes=3500)) as url:
        with half_sent(url, 3):
            waits_for(url, "waiting 3")
            answer = httpx.post(f"{url}/score", content=b" " * 1000)
            assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
        waits_for(url, "waiting 0")
        assert httpx.post(f"{url}/score", json={"requests": [request(2)]}).status_code == 200


@pytest.mark.parametrize("field", ["id", "prompt", "key", "meta", "digest"])
def test_half_a_character_is_the_caller_s_fault(field: str) -> None:
    item = request(2) | {field: "\ud800"}
    with serving() as url:
        assert httpx.post(f"{url}/score", content=json.dumps({"requests": [item]})).status_code == 400


def test_half_a_character_in_a_reason_arrives_as_a_question_mark() -> None:
    def act(asked: Asked) -> Answer:
        scores = [score | {"reason": "\ud83d"} for score in truth(asked)["scores"]]
        return Answer(body=json.dumps({"scores": scores}).encode())

    with loopback(act) as server:
        assert remote(server.url).score(pictures(1)).reason == ("?",)
    with serving() as url:
        limits = Limits(attempts=1)
        scores = RemoteReward([url], -1, 1, ["red"], limits=limits).score(
            pictures(1, "a reason \N{WHITE SMILING FACE}")
        )
    assert scores.reason == ("a reason \N{WHITE SMILING FACE}",)
