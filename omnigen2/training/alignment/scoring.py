"""Scores for the pictures of a rollout: each by the reward of its task, and by those that are only watched."""

import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeAlias

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from omnigen2.data.batches import Example, Pixels
from omnigen2.data.samples import Task
from omnigen2.errors import UserError
from omnigen2.rl import Failure, Reward, RewardError, RewardProcess, RewardRequest, Scores, check_scores
from omnigen2.training.alignment.settings import RewardPart


@dataclass(frozen=True)
class Scored:
    """Pictures with their scores, in one order.

    Attributes:
        tasks: Of each picture.
        scores: By the trained rewards. Parts are called `task/part`, and are NaN for pictures of other tasks.
        watched: By the watched rewards: a value for each picture, NaN where there is none.
    """

    tasks: tuple[Task, ...]
    scores: Scores
    watched: dict[str, Tensor]

    @property
    def outage(self) -> Failure | None:
        """The problem of the first picture that nobody has looked at; None if all were looked at."""
        return next((problem for problem in self.scores.problem if _is_outage(problem)), None)

    @classmethod
    def joined(cls, parts: Sequence["Scored"]) -> "Scored":
        """The pictures of all parts, of which there is at least one, behind one another."""
        return cls(
            tasks=tuple(task for part in parts for task in part.tasks),
            scores=Scores.concatenate([part.scores for part in parts]),
            watched={name: torch.cat([part.watched[name] for part in parts]) for name in parts[0].watched},
        )


Pending: TypeAlias = Callable[[], Scored]
"""Waits for scores."""
Asked: TypeAlias = RewardRequest | Failure
"""What is asked about a picture, or why nobody is asked."""
Submit: TypeAlias = Callable[[Sequence[Asked], Sequence[Task]], Pending]
UNREADABLE = "unreadable picture"
"""The cause of a failure that costs the group of a prompt: a picture of it cannot be opened."""


class Scorer:
    """Asks the rewards of a recipe.

    Args:
        part: Which rewards, and how patiently they are asked.
        sleep: Waits some seconds between rounds.
    """

    def __init__(self, part: RewardPart, sleep: Callable[[float], None] = time.sleep) -> None:
        self.part = part
        self.sleep = sleep
        local = {id(reward): reward for reward in self.rewards if not reward.remote}
        self.process = RewardProcess(tuple(local.values())) if part.own_process and local else None
        self.names = sorted({f"{task}/{name}" for task, reward in part.trained.items() for name in reward.part_names})

    @property
    def rewards(self) -> tuple[Reward, ...]:
        """All of them, trained and watched."""
        return (*self.part.trained.values(), *(watched.reward for watched in self.part.watched.values()))

    def probe(self) -> None:
        """Find out before training whether all rewards can work.

        Raises:
            UserError: If one cannot, with what to do.
        """
        for name, reward in zip((*self.part.trained, *self.part.watched), self.rewards, strict=True):
            try:
                if self.process is None or reward.remote:
                    reward.probe()
                else:
                    self.process.probe(reward)
            except RewardError as error:
                raise UserError(f"the reward {name} ({type(reward).__name__}) is not ready: {error}") from error

    def close(self) -> None:
        """End the process of the rewards, if there is one."""
        if self.process is not None:
            self.process.close()

    @contextmanager
    def session(self) -> Generator[Submit]:
        """Score while something else is done, if a reward is elsewhere; otherwise once the scores are waited for.

        Whoever leaves it by an exception, such as Ctrl-C, does not wait for servers.

        Yields:
            A function that takes pictures and their tasks, and returns one that waits for the scores.
        """
        if self.process is None and not any(reward.remote for reward in self.rewards):
            yield lambda requests, tasks: partial(self.score, requests, tasks)
            return
        jobs: SimpleQueue[tuple[Pending, Future[Scored]] | None] = SimpleQueue()
        futures: list[Future[Scored]] = []

        def submit(requests: Sequence[Asked], tasks: Sequence[Task]) -> Pending:
            futures.append(Future())
            jobs.put((partial(self.score, requests, tasks), futures[-1]))
            return futures[-1].result

        # a thread of its own, since rewards take one call at a time; an executor's would be waited for in any case
        thread = Thread(target=_work_off, args=(jobs,), daemon=True)
        thread.start()
        try:
            yield submit
        except BaseException:
            for future in futures:
                future.cancel()
            raise
        finally:
            jobs.put(None)
        thread.join()

    def score(self, requests: Sequence[Asked], tasks: Sequence[Task], patient: bool = True) -> Scored:
        """Score pictures of some tasks. With an `outage` if servers stayed away to the end.

        Args:
            requests: The pictures; in place of one that nobody is to be asked about, why it has no score.
            tasks: Of each.
            patient: Whether those that nobody has looked at are sent again, after a pause.

        Raises:
            UserError: If a task has no reward, or a reward does not fit the data.
        """
        try:
            scores, wait = self._trained(requests, tasks), self.part.wait_s
            for _ in range(self.part.retries if patient else 0):
                silent = [i for i, problem in enumerate(scores.problem) if _is_outage(problem)]
                if not silent:
                    break
                share, first = f"{len(silent)} of {len(requests)}", scores.problem[silent[0]]
                rank_zero_warn(f"{share} pictures were not scored ({first}); they are sent again in {wait:g} s")
                self.sleep(wait)
                wait *= 2
                again = self._trained([requests[i] for i in silent], [tasks[i] for i in silent])
                newest = list(range(len(scores)))
                for number, place in enumerate(silent, len(scores)):
                    newest[place] = number
                scores = Scores.concatenate([scores, again]).take(newest)
            watched = {name: self._watched(name, requests, tasks) for name in self.part.watched}
        except RewardError as error:
            raise UserError(str(error)) from error
        return Scored(tuple(tasks), scores, watched)

    def _trained(self, requests: Sequence[Asked], tasks: Sequence[Task]) -> Scores:
        """Each picture by the reward of its task.

        Raises:
            RewardError: If a task has none.
        """
        failed = {number: request for number, request in enumerate(requests) if isinstance(request, Failure)}
        without = sorted({task for number, task in enumerate(tasks) if number not in failed} - set(self.part.trained))
        if without:
            raise RewardError(
                f"the prompts ask for {', '.join(without)}, and there is a reward for {', '.join(self.part.trained)} "
                "alone; name one under rewards.trained, or ask for other tasks"
            )
        places = list(failed)
        found = [Scores.collect(list(failed.values()), self.names)] if failed else []
        for task, reward in self.part.trained.items():
            own = [number for number, other in enumerate(tasks) if other == task and number not in failed]
            if own:
                places += own
                scores = self._ask(reward, [requests[number] for number in own])
                nan = torch.full((len(own),), torch.nan, dtype=torch.float32)
                parts = dict.fromkeys(self.names, nan) | {f"{task}/{n}": part for n, part in scores.parts.items()}
                found.append(replace(scores, parts=parts))
        return Scores.concatenate(found).take(sorted(range(len(places)), key=places.__getitem__))

    def _watched(self, name: str, requests: Sequence[Asked], tasks: Sequence[Task]) -> Tensor:
        watched = self.part.watched[name]
        of_tasks = [number for number, task in enumerate(tasks) if watched.tasks is None or task in watched.tasks]
        own = [number for number in of_tasks if isinstance(requests[number], RewardRequest)]
        values = torch.full((len(requests),), torch.nan, dtype=torch.float32)
        if own:
            values[own] = self._ask(watched.reward, [requests[number] for number in own]).value
        return values

    def _ask(self, reward: Reward, asked: Sequence[Asked]) -> Scores:
        requests = [request for request in asked if isinstance(request, RewardRequest)]
        if self.process is None or reward.remote:
            return check_scores(reward, requests, reward.score(requests))
        return check_scores(reward, requests, self.process.score(reward, requests))


def request_of(example: Example, picture: Pixels, key: str) -> RewardRequest:
    """What a reward is asked about a picture in [-1, 1] that was made for an example; `key` names it in messages.

    Rewards see float32, whatever the precision that the picture was drawn in.
    """
    return RewardRequest(example.instruction, picture.float(), example.references, example.meta, key)


def _work_off(jobs: "SimpleQueue[tuple[Pending, Future[Scored]] | None]") -> None:
    """Do what comes, in order, until None comes."""
    while (job := jobs.get()) is not None:
        work, future = job
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:  # of any kind: whoever waits for the result gets it
                future.set_exception(error)


def _is_outage(problem: Failure | None) -> bool:
    return problem is not None and problem.transient
