"""How servers are asked: how many at once, until when, with which key, at which URLs."""

import logging
import time

import pytest

from omnigen2.rl import Failure, RewardError
from omnigen2.rl.rewards import InContextReward, Judge
from omnigen2.rl.rewards.remote import ChatClient, ChatQuestion, Limits, RemoteReward
from omnigen2.rl.rewards.remote.transport import JsonPoster
from tests.rl.brightness import pictures
from tests.rl.faults import QUICK, remote, served, truth
from tests.rl.loopback import Answer, Asked, loopback


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


@pytest.mark.parametrize("named", ["Mon, 01 Jan 99999999999 00:00:00 GMT", "é", "soon", ""])
def test_a_time_that_cannot_be_read_is_no_time(named: str) -> None:
    script = iter([Answer(429, headers={"Retry-After": named})])
    with loopback(lambda asked: next(script, Answer(body={"ok": 1}))) as server:
        assert JsonPoster([server.url], QUICK).post_all("/x", [dict]) == [{"ok": 1}]


def test_the_deadline_ends_everything() -> None:
    start = time.monotonic()
    limits = Limits(2, timeout_s=30, deadline_s=0.5)
    with loopback(lambda asked: Answer(body={"x": "y" * 500}, fault="drip")) as server:
        scores = remote(server.url, limits=limits).score(pictures(6))
    assert scores.problem == (Failure("deadline", "not finished within 0.5 s", transient=True),) * 6
    assert time.monotonic() - start < 5


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


@pytest.mark.parametrize("key", ["sk-very-secret", "two  words"])
@pytest.mark.parametrize("length", [0, 190])
def test_no_part_of_a_key_is_told(key: str, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", key)
    with loopback(lambda asked: Answer(403, f"{'x' * length} {key}".encode())) as server:
        poster = JsonPoster([server.url], QUICK, "JUDGE_KEY")
        answers = [*poster.post_all("/x", [dict]), *poster.get_each("/x")]
    for answer in map(str, answers):
        assert "***" in answer
        assert key[:4] not in answer


def test_a_key_that_is_not_set_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    with pytest.raises(RewardError, match="JUDGE_KEY has no usable key"):
        ChatClient(["http://127.0.0.1:9"], "m", "JUDGE_KEY").ask([])


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:80", "ftp://a", "http://user:pw@a", "http://a?key=1", "http://a:99999", "http://", "http://[::1",
        "http://a\n:80", "http://a..b",
    ],
)  # fmt: skip
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
