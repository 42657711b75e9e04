"""The reward server."""

import json
import socket
from typing import Any

import httpx
import pytest

from omnigen2.rl import RewardError
from omnigen2.rl.rewards.remote import Limits, RemoteReward, create_app
from omnigen2.rl.rewards.remote.server import ServerLimits
from omnigen2.rl.rewards.remote.wire import pack_request
from tests.rl.brightness import Brightness, brightness, pictures
from tests.rl.served import serving


def body(count: int = 1, prompt: str = "draw") -> dict[str, Any]:
    return {"requests": [pack_request(request, f"a-{i}") for i, request in enumerate(pictures(count, prompt))]}


def test_scores_over_http_are_those_of_the_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "t0ken")
    with serving("t0ken") as url:
        remote = RemoteReward([url], -1, 1, ["red"], token_variable="MY_TOKEN")
        remote.probe()
        requests = [*pictures(6), *pictures(1, "fail")]
        scores = remote.score(requests)
        metrics = httpx.get(f"{url}/metrics", headers={"Authorization": "Bearer t0ken"}).text
    assert scores.valid.tolist() == [True] * 6 + [False]
    assert scores.value[:6].tolist() == pytest.approx([brightness(request) for request in requests[:6]], abs=1e-6)
    assert "omnigen2_reward_pictures_total 7" in metrics
    assert 'omnigen2_reward_invalid_total{cause="unreadable"} 1' in metrics
    assert 'omnigen2_reward_calls_total{status="200"} 3' in metrics


@pytest.mark.parametrize("path", ["/score", "/health", "/metrics"])
def test_nothing_is_told_without_the_token(path: str) -> None:
    with serving("t0ken") as url:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "t0ken"}):
            answer = httpx.request("POST" if path == "/score" else "GET", url + path, headers=headers)
            assert answer.status_code == 401
            assert "t0ken" not in answer.text


def test_calls_that_are_too_large_or_mean_nothing_are_refused() -> None:
    with serving(limits=ServerLimits(request_bytes=4000, pictures=2, pixels=20)) as url:
        refused = {413: [b"x" * 5000], 422: [b"no json", b"[1]", b'{"requests": [{}]}', json.dumps(body(3)).encode()]}
        for status, contents in refused.items():
            for content in contents:
                assert httpx.post(f"{url}/score", content=content).status_code == status
        large = pack_request(pictures(3)[2].__class__("x", pictures(1)[0].image.repeat(1, 4, 1)), "a-0")
        answer = httpx.post(f"{url}/score", json={"requests": [large]})
        assert answer.status_code == 422
        assert "at most 20 are taken" in answer.text
        assert httpx.post(f"{url}/score", json=body(1)).status_code == 200


def test_a_reward_that_refuses_is_422_and_one_that_breaks_500() -> None:
    with serving() as url:
        refused = httpx.post(f"{url}/score", json=body(1, "refuse"))
        assert (refused.status_code, refused.json()["error"]) == (422, "picture 0 does not fit")
        assert httpx.post(f"{url}/score", json=body(1, "break")).status_code == 500
        limits = Limits(attempts=2, backoff_s=0.001)
        scores = RemoteReward([url], -1, 1, ["red"], limits=limits).score(pictures(1, "break"))
        assert scores.causes() == {"no answer": 1}
        assert 'calls_total{status="500"} 3' in httpx.get(f"{url}/metrics").text


def test_a_call_that_breaks_off_is_no_error_of_the_server() -> None:
    with serving() as url:
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as client:
            client.sendall(b"POST /score HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n{")
            while "waiting 1" not in httpx.get(f"{url}/metrics").text:
                pass
        while "waiting 0" not in (metrics := httpx.get(f"{url}/metrics").text):
            pass
    assert 'calls_total{status="400"} 1' in metrics
    assert 'calls_total{status="500"}' not in metrics


def test_a_range_that_is_not_finite_is_not_served() -> None:
    reward = Brightness()
    reward.high = float("inf")
    with pytest.raises(RewardError, match=r"Brightness has the range \[-1.0, inf\].*wrap it in"):
        create_app(reward)


def test_too_many_waiting_calls_are_sent_away() -> None:
    with serving(limits=ServerLimits(waiting=0)) as url:
        answer = httpx.post(f"{url}/score", json=body())
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "1"
