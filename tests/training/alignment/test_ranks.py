"""Flow-GRPO by two processes: it draws, compares and learns what one process does, and stops as one."""

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from omnigen2.rl import group_advantages
from omnigen2.training.parts.model_folder import save_plain_transformer
from tests.training.alignment.rank_parts import GROUPS, MEMBERS, WAYS, everything, one_update
from tests.training.flow_parts import wake
from tests.training.grpo_parts import grpo
from tests.training.rank_parts import Launcher


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("start")
    save_plain_transformer(wake(grpo()).dit, folder)
    return str(folder)


@pytest.fixture(scope="module")
def pair(start: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    launcher = Launcher(tmp_path_factory.mktemp("pair"))
    try:
        assert launcher(everything, str(launcher.folder), start) == [0, 0], launcher.log()
    finally:
        launcher.close()
    return launcher.folder, launcher.result()


def joined(ranks: list[dict[str, Any]], name: str) -> Any:
    """A value of every iteration, the ranks behind one another."""
    numbers = range(len(ranks[0]["iterations"]))
    each = [[own["iterations"][number][name] for own in ranks] for number in numbers]
    return [torch.cat(parts) if isinstance(parts[0], Tensor) else list(chain(*parts)) for parts in each]


def by_iteration(ranks: list[dict[str, Any]], name: str) -> list[Any]:
    """What was asked of the rewards, in the order of the iterations."""
    iterations = len(ranks[0]["iterations"])
    share = len(ranks[0]["keys"]) // iterations
    return [value for n in range(iterations) for own in ranks for value in own[name][n * share :][:share]]


@pytest.fixture(scope="module")
def alone(start: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What one process comes to; of DDP and FSDP2 it is the same."""
    folder = tmp_path_factory.mktemp("alone")
    found = {way: one_update(way, start, folder) for way in ("ddp", "lora")}
    return found | {"fsdp": found["ddp"]}


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_draw_what_one_draws(way: str, pair: tuple[Path, dict[str, Any]], alone: Any) -> None:
    ours, theirs = pair[1][way], alone[way]
    assert by_iteration(ours, "keys") == by_iteration(theirs, "keys")
    assert joined(ours, "groups") == joined(theirs, "groups")
    assert joined(ours, "groups")[0] == [0, 0, 1, 1, 2, 2]
    for one, other in zip(joined(ours, "noise"), joined(theirs, "noise"), strict=True):
        assert torch.equal(one, other)
    pictures = by_iteration(ours, "pictures"), by_iteration(theirs, "pictures")
    torch.testing.assert_close(*pictures, rtol=0, atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_learn_what_one_learns(way: str, pair: tuple[Path, dict[str, Any]], alone: Any) -> None:
    ours, theirs = pair[1][way], alone[way]
    torch.testing.assert_close(joined(ours, "advantages"), joined(theirs, "advantages"), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(ours[0]["weights"], theirs[0]["weights"], rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_log_what_one_logs(way: str, pair: tuple[Path, dict[str, Any]], alone: Any) -> None:
    ours, theirs = (
        [row for row in ranks[0]["metrics"] if "reward/mean" in row] for ranks in (pair[1][way], alone[way])
    )
    assert len(ours) == len(theirs) == 2
    assert ours[1]["policy/kl"] > 0
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.keys() == its.keys()
        numbers = [name for name in its if not name.startswith(("seconds/", "policy/ratio"))]
        torch.testing.assert_close([mine[n] for n in numbers], [its[n] for n in numbers], rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("way", WAYS)
def test_groups_are_compared_whole(way: str, pair: tuple[Path, dict[str, Any]]) -> None:
    ranks = pair[1][way]
    values = torch.tensor(by_iteration(ranks, "values")).split(GROUPS * MEMBERS)
    assert len(values) == 2
    for rewards, groups, found in zip(values, joined(ranks, "groups"), joined(ranks, "advantages"), strict=True):
        torch.testing.assert_close(found, group_advantages(rewards, groups).values, rtol=1e-3, atol=1e-3)
        assert bool(found[2:4].any())  # the group of two ranks
    logged = [row["reward/mean"] for row in ranks[0]["metrics"] if "reward/mean" in row]
    assert logged == pytest.approx([float(rewards.mean()) for rewards in values], abs=1e-5)


@pytest.mark.parametrize("way", [*WAYS, "again"])
def test_all_processes_have_the_same_weights_and_ratios_of_1(way: str, pair: tuple[Path, dict[str, Any]]) -> None:
    first, second = pair[1][way]
    assert all(torch.equal(value, second["weights"][name]) for name, value in first["weights"].items())
    ratios = [pair for own in (first, second) for iteration in own["iterations"] for pair in iteration["ratios"]]
    assert ratios
    assert all(pair == [1.0, 1.0] for pair in ratios)


def test_micro_batches_of_unequal_parts_give_the_same_update(pair: tuple[Path, dict[str, Any]]) -> None:
    whole, cut = pair[1]["parts"]
    counts = [[[len(n["ratios"]) for n in own["iterations"]] for own in ranks] for ranks in (whole, cut)]
    assert counts == [[[2, 3]] * 2, [[3, 3]] * 2]  # backward passes of each iteration, of both processes
    torch.testing.assert_close(cut[0]["weights"], whole[0]["weights"], rtol=1e-3, atol=2e-4)


def test_a_server_that_fails_one_process_stops_both(pair: tuple[Path, dict[str, Any]]) -> None:
    name, (first, second) = pair[1]["stopped"]
    assert "not scored (no answer: ConnectError" in first
    assert first.endswith("the same command goes on from iteration 1")
    assert second == "status 2"
    assert name == "resume-00000002.ckpt"


def test_two_stopped_processes_continue_exactly(pair: tuple[Path, dict[str, Any]]) -> None:
    again, whole = pair[1]["again"], pair[1]["whole"]
    assert len(again[0]["iterations"]) == 1
    assert len(whole[0]["iterations"]) == 2
    assert all(torch.equal(value, again[0]["weights"][name]) for name, value in whole[0]["weights"].items())


def test_a_refusal_on_one_process_is_said_by_the_first(pair: tuple[Path, dict[str, Any]]) -> None:
    name, (first, second) = pair[1]["not ready"]
    assert (name, second) == ("", "status 2")
    assert first == "the reward text_to_image (Untold) is not ready: nobody listens; start it"
    assert pair[1]["refused"] == ("", ["these prompts are for another reward", "status 2"])


def test_held_out_rewards_are_means_over_the_pictures_of_both(pair: tuple[Path, dict[str, Any]]) -> None:
    assert pair[1]["known"] == {"reward": (3.0, 3), "other": (4.0, 1)}


def test_the_start_weights_are_kept_where_they_came_from_no_file(pair: tuple[Path, dict[str, Any]]) -> None:
    assert pair[1]["kept"] == {"same": True, "sharded": True, "trained": False}
