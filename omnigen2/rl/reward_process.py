"""Rewards that score in a process of their own, so that this one draws meanwhile also where scoring is Python."""

import multiprocessing
import os
import signal
import traceback
import weakref
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Lock, Thread
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from omnigen2.rl.reward import Outcome, Reward, RewardError, RewardRequest, Scores

Copy: TypeAlias = tuple[np.ndarray, torch.dtype]
"""The bytes of a picture, of any dtype. They are not shared: shared memory is small in containers."""
Wire: TypeAlias = tuple[str, Copy, tuple[Copy, ...], str, str]
Answer: TypeAlias = list[Outcome] | BaseException


class RewardProcess:
    """One process that keeps some rewards. It is started when it is first asked, and ends with this one.

    Each reward gives the scores that it gives here; what it raises there is raised here. A process cannot start
    processes of its own there, and computes with one thread.

    Args:
        rewards: Importable by name, as rewards in recipes are; they are sent as `multiprocessing` sends objects.
    """

    def __init__(self, rewards: Sequence[Reward]) -> None:
        self.rewards = tuple(rewards)
        self._lock = Lock()
        self._running: tuple[BaseProcess, Connection] | None = None

    def probe(self, reward: Reward) -> None:
        """Find out there whether a reward can work.

        Raises:
            RewardError: If it cannot, or cannot go there.
        """
        self._ask(reward, None)

    def score(self, reward: Reward, requests: Sequence[RewardRequest]) -> Scores:
        """Scores by one of the rewards.

        Raises:
            RewardError: If the process has ended, or the reward raises it.
        """
        return Scores.collect(self._ask(reward, [_packed(request) for request in requests]), reward.part_names)

    def close(self) -> None:
        """End the process, if there is one."""
        if self._running is not None:
            process, connection = self._running
            _end(process.terminate, connection)
            self._running = None

    def _ask(self, reward: Reward, wanted: list[Wire] | None) -> list[Outcome]:
        number = next(number for number, own in enumerate(self.rewards) if own is reward)
        with self._lock:
            if self._running is None:
                self._running = self._start()
            process, connection = self._running
            try:
                connection.send((number, wanted))
                answer: Answer = connection.recv()
            except (EOFError, OSError) as error:
                process.join(5)
                raise RewardError(
                    f"the process that scores with {type(reward).__name__} has ended, status {process.exitcode}",
                    "see what it has printed; in a recipe, rewards.own_process: false lets them score in the training",
                ) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _start(self) -> tuple[BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")  # a fork would have copies of locked threads
        here, there = context.Pipe()
        process = context.Process(target=serve, args=(there, self.rewards), daemon=True, name="rewards")
        try:
            process.start()
        except Exception as error:  # whatever an object says that cannot be sent
            names = ", ".join(sorted({type(reward).__name__ for reward in self.rewards}))
            raise RewardError(
                f"{names} cannot be sent to a process of their own ({error})",
                "write rewards.own_process: false in a recipe",
            ) from error
        there.close()
        weakref.finalize(self, _end, process.terminate, here)
        return process, here


def serve(connection: Connection, rewards: Sequence[Reward]) -> None:
    """What the process does. Ctrl-C is a matter of the one that has started it; if that is killed, so is this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    answer_all(connection, rewards)


def answer_all(connection: Connection, rewards: Sequence[Reward]) -> None:
    """Answer until the other end is closed, also by its process being killed."""
    with connection:
        while True:
            try:
                number, wanted = connection.recv()
            except (EOFError, OSError):
                return
            connection.send(answered(rewards[number], wanted))


def answered(reward: Reward, wanted: Sequence[Wire] | None) -> Answer:
    """The outcomes, or what was raised in their place; if nothing is wanted, the reward is tried out."""
    try:
        if wanted is None:
            reward.probe()
            return []
        scores = reward.score([_unpacked(one) for one in wanted])
        return list(scores.outcomes())
    except RewardError as error:
        return RewardError(error.message, error.remedy)  # one of a class of its own may not be read there
    except Exception as error:  # of any class, which may not exist where it is read
        return RuntimeError(f"{type(reward).__name__} failed in its own process\n{traceback.format_exc()}{error}")


def _packed(request: RewardRequest) -> Wire:
    return request.prompt, _copy(request.image), tuple(map(_copy, request.references)), request.meta, request.key


def _unpacked(wire: Wire) -> RewardRequest:
    prompt, image, references, meta, key = wire
    return RewardRequest(prompt, _picture(image), tuple(map(_picture, references)), meta, key)


def _copy(picture: Tensor) -> Copy:
    return picture.detach().contiguous().view(torch.uint8).numpy(), picture.dtype


def _picture(copy: Copy) -> Tensor:
    return torch.from_numpy(copy[0]).view(copy[1])


def _end_with_parent() -> None:
    """End also in the middle of scoring, which may take long."""
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def _end(terminate: Callable[[], None], connection: Connection) -> None:
    connection.close()
    terminate()
