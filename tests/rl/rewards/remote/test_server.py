"""The reward server and its command."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from omnigen2.commands.reward import TOKEN, load_reward, main
from omnigen2.rl import RewardError
from omnigen2.rl.rewards.remote import Limits, RemoteReward, create_app
from omnigen2.rl.rewards.remote.server import ServerLimits, application
from omnigen2.rl.rewards.remote.wire import pack_request
from tests.paths import ROOT
from tests.rl.brightness import Brightness, brightness, pictures

RECIPE = "reward:\n  class_path: tests.rl.brightness.Brightness\n"


@contextmanager
def serving(token: str | None = None, limits: ServerLimits | None = None) -> Iterator[str]:
    """A server with the brightness reward in a thread."""
    server = uvicorn.Server(uvicorn.Config(application(Brightness(), token, limits), log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


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


def test_other_addresses_need_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.delenv(TOKEN, raising=False)
    (tmp_path / "reward.yaml").write_text(RECIPE)
    for host in ("0.0.0.0", "192.168.0.1", "::", "example.com"):
        assert main(["serve", str(tmp_path / "reward.yaml"), "--host", host]) == 2
        assert f"{TOKEN} is not set" in capsys.readouterr().err


def test_an_address_with_colons_is_told_as_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    (tmp_path / "reward.yaml").write_text(RECIPE)
    monkeypatch.setattr("omnigen2.commands.reward._bound", lambda host, port: socket.create_server(("127.0.0.1", port)))
    monkeypatch.setattr("uvicorn.Server.run", lambda self, sockets: None)
    assert main(["serve", str(tmp_path / "reward.yaml"), "--host", "::1", "--port", "0"]) == 0
    (url,) = re.findall(r"http:\S+", capsys.readouterr().out)
    RemoteReward([url])


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_is_none_is_told(port: str, tmp_path: Path, capsys: Any) -> None:
    assert main(["serve", str(tmp_path / "reward.yaml"), "--port", port]) == 2
    assert f"--port is {port}" in capsys.readouterr().err


def test_recipes_name_a_reward(tmp_path: Path) -> None:
    recipe = tmp_path / "reward.yaml"
    recipe.write_text(f"{RECIPE}  init_args: {{ready: false}}\n")
    reward = load_reward(recipe)
    assert isinstance(reward, Brightness)
    assert reward.ready is False


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "names no reward that can be built"),
        ("reward: {class_path: omnigen2.nothing.Here}\n", "names no reward that can be built"),
        ("reward: {class_path: tests.rl.brightness.Brightness, init_args: {red: 1}}\n", "names no reward"),
        ("other: 1\n", "names no reward that can be built"),
    ],
)
def test_recipes_without_a_reward_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "reward.yaml").write_text(text)
    with pytest.raises(RewardError, match=problem):
        load_reward(tmp_path / "reward.yaml")
    with pytest.raises(RewardError, match="there is no recipe"):
        load_reward(tmp_path / "none.yaml")


def test_nested_rewards_are_built_from_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "reward.yaml").write_text("""
reward:
  class_path: omnigen2.rl.WeightedSum
  init_args:
    weights: {edit: 1.0, nice: 0.5}
    rewards:
      edit:
        class_path: omnigen2.rl.rewards.EditScoreReward
        init_args:
          passes: 2
          judge:
            class_path: omnigen2.rl.rewards.Judge
            init_args:
              client:
                class_path: omnigen2.rl.rewards.remote.ChatClient
                init_args:
                  urls: [http://127.0.0.1:8000/v1]
                  model: vlm
                  settings: {temperature: 0.7}
      nice:
        class_path: omnigen2.microworld.tasks.MicroPreferenceReward
""")
    reward = load_reward(tmp_path / "reward.yaml")
    assert (reward.low, reward.high) == (0, 1.5)
    assert reward.rewards["edit"].judge.client.settings.temperature == 0.7


def test_the_command_serves_until_it_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "reward.yaml").write_text(RECIPE)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "omnigen2", "reward", "serve", str(tmp_path / "reward.yaml"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        url = re.search(r"http://127.0.0.1:\d+", line)
        assert url is not None, line
        try:
            scores = RemoteReward([url[0]], -1, 1, ["red"]).score(pictures(3))
        finally:
            process.terminate()
    assert bool(scores.valid.all())


def test_a_reward_that_is_not_ready_is_not_served(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "reward.yaml").write_text(f"{RECIPE}  init_args: {{ready: false}}\n")
    assert main(["serve", str(tmp_path / "reward.yaml"), "--port", "0"]) == 2
    assert capsys.readouterr().err.splitlines() == ["error: the model is not there", "       put it there"]
