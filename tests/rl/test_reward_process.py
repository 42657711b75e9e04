"""Rewards in a process of their own: the same scores, what is raised is told, nothing is left behind."""

from collections.abc import Sequence
from multiprocessing import Pipe
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.microworld.tasks import MicroPreferenceReward
from omnigen2.rl import Reward, RewardError, RewardProcess, RewardRequest, Scores
from omnigen2.rl.reward import Failure
from omnigen2.rl.reward_process import answer_all, serve
from tests.training.grpo_parts import Moody, Redness


class Broken(Redness):
    """Raises what it is told, for pictures or when it is tried out."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        raise self.error

    def probe(self) -> None:
        raise self.error


class OwnError(RewardError):
    """It cannot be read from a pickle."""

    def __init__(self, code: int, *, words: str) -> None:
        super().__init__(f"{code}: {words}", "look it up")


def requests(count: int = 3, dtype: torch.dtype = torch.float32) -> list[RewardRequest]:
    pictures = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(count)).to(dtype)
    return [RewardRequest("red", one, (one / 2,), "{}", f"picture {n}") for n, one in enumerate(pictures)]


def here(*rewards: Reward) -> RewardProcess:
    """The other end in a thread: all but the start of a process."""
    process = RewardProcess(rewards)

    def start() -> Any:
        mine, its = Pipe()
        thread = Thread(target=answer_all, args=(its, rewards), daemon=True)
        thread.start()
        thread.terminate = thread.join  # pyright: ignore[reportAttributeAccessIssue]
        return thread, mine

    process._start = start  # pyright: ignore[reportAttributeAccessIssue]
    return process


@settings(max_examples=10)
@given(
    count=st.integers(0, 5),
    failing=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.bfloat16, torch.float64]),
)
def test_scores_are_those_of_the_reward_itself(count: int, failing: float, dtype: torch.dtype) -> None:
    def moody() -> Moody:
        return Moody({0: Failure("unreadable reply", "no JSON", transient=True)}, share=failing)

    own, asked = moody(), requests(count, dtype)
    beside = here(MicroPreferenceReward(), own)
    assert beside.score(own, asked).outcomes() == moody().score(asked).outcomes()
    for seen, sent in zip(own.asked[0], asked, strict=True):
        assert seen.image.dtype == dtype
        assert torch.equal(seen.image, sent.image)
        assert [one.tolist() for one in seen.references] == [one.tolist() for one in sent.references]
        assert (seen.prompt, seen.meta, seen.key) == (sent.prompt, sent.meta, sent.key)


def test_what_a_reward_raises_is_raised_here() -> None:
    refused = Broken(RewardError("these prompts are for another reward", "ask for edits"))
    with pytest.raises(RewardError, match=r"(?s)for another reward\n  ask for edits"):
        here(refused).probe(refused)
    with pytest.raises(RewardError, match=r"(?s)for another reward\n  ask for edits"):
        here(refused).score(refused, requests())
    own = Broken(OwnError(3, words="too dark"))
    with pytest.raises(RewardError, match=r"(?s)^3: too dark\n  look it up$"):
        here(own).score(own, requests())
    broken = Broken(ZeroDivisionError("broken"))
    with pytest.raises(RuntimeError, match=r"(?s)Broken failed in its own process.*ZeroDivisionError: broken"):
        here(broken).score(broken, requests())


def test_a_reward_that_cannot_be_sent_is_told() -> None:
    class Local(Redness):
        pass

    reward = Local()
    with pytest.raises(RewardError, match=r"(?s)Local cannot be sent to a process.*rewards.own_process: false"):
        RewardProcess([reward]).probe(reward)


def test_a_real_process_scores_and_its_end_is_told() -> None:
    reward, asked = MicroPreferenceReward(), requests()
    beside = RewardProcess([reward])
    beside.probe(reward)
    assert beside.score(reward, asked).outcomes() == reward.score(asked).outcomes()
    assert beside._running is not None
    child: Any = beside._running[0]
    assert child.daemon
    child.kill()
    child.join(20)
    with pytest.raises(RewardError, match=r"(?s)MicroPreferenceReward has ended, status -9\n.*own_process: false"):
        beside.score(reward, asked)
    beside.close()
    assert beside._running is None


def test_it_ends_with_the_one_that_has_started_it_also_while_it_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    killed, ended = Event(), Event()
    monkeypatch.setattr("multiprocessing.parent_process", lambda: SimpleNamespace(join=lambda: killed.wait(20)))
    monkeypatch.setattr("os._exit", lambda status: ended.set())
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr("torch.set_num_threads", lambda _: None)
    mine, its = Pipe()
    mine.close()
    serve(its, ())
    assert not ended.is_set()
    killed.set()
    assert ended.wait(20)
