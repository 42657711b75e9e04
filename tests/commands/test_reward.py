"""`omnigen2 reward` as a user calls it."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from omnigen2.commands.judging import load_reward
from omnigen2.commands.reward import TOKEN, main
from omnigen2.rl import RewardError
from omnigen2.rl.rewards.remote import RemoteReward
from tests.paths import ROOT
from tests.rl.brightness import Brightness, pictures

RECIPE = "reward:\n  class_path: tests.rl.brightness.Brightness\n"


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
        ("", "has not the one key reward"),
        ("a: [", "line 1 is no valid YAML"),
        ("reward: {class_path: omnigen2.nothing.Here}\n", "names no reward that can be built"),
        ("reward: {class_path: tests.rl.brightness.Brightness, init_args: {red: 1}}\n", "names no reward"),
        ("other: 1\n", "has not the one key reward"),
    ],
)
def test_recipes_without_a_reward_are_refused(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "reward.yaml").write_text(text)
    with pytest.raises(RewardError, match=problem):
        load_reward(tmp_path / "reward.yaml")
    with pytest.raises(RewardError, match="there is no file"):
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
