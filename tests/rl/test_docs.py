"""The guide to reinforcement learning: its reward works, alone and in a recipe."""

import re
from pathlib import Path

import pytest
import torch

from omnigen2.rl import Reward, RewardRequest, check_scores
from omnigen2.runner.plan import parse
from omnigen2.runner.recipe.layers import arguments
from omnigen2.runner.recipe.recipe import read_recipe
from tests.paths import ROOT

GUIDE = (ROOT / "docs/rl.md").read_text()
(SNIPPET,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
OPTIONS = re.findall(r"--[\w.]+=\S+", GUIDE[GUIDE.index("Saved as `darkness.py`") :])


def test_the_reward_of_the_guide_scores_pictures() -> None:
    names: dict[str, type[Reward]] = {}
    exec(SNIPPET, names)
    reward = names["Darkness"]()
    requests = [RewardRequest("night", torch.full((3, 4, 4), value)) for value in (-1.0, 0.0, 1.0)]
    assert check_scores(reward, requests, reward.score(requests)).value.tolist() == [1.0, 0.5, 0.0]


def test_the_reward_of_the_guide_is_named_in_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "darkness.py").write_text(SNIPPET)
    monkeypatch.syspath_prepend(tmp_path)
    assert any("darkness.Darkness" in option for option in OPTIONS)
    recipe = read_recipe([ROOT / "recipes/micro/rl_geneval.yaml"], OPTIONS)
    config = parse(arguments(recipe.files, recipe.documents, recipe.overrides), recipe.files)
    trained = config.values["model"]["init_args"]["alignment"]["rewards"]["trained"]["text_to_image"]
    assert trained["class_path"] == "darkness.Darkness"
