"""Draw several pictures of a request and keep the best: a judge chooses.

What cannot be judged cannot win, and what nobody could judge is kept, and told.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

from omnigen2.files import check_most
from omnigen2.generate.denoise import Progress
from omnigen2.generate.errors import GenerateError, check_kind
from omnigen2.generate.generator import Generator
from omnigen2.generate.jobs.job import Job
from omnigen2.generate.picture import Choice, Picture, read_parameters, save_picture
from omnigen2.generate.request import MOST_IMAGES, Request, Sampling
from omnigen2.pictures import ImageReader


@runtime_checkable
class Verdict(Protocol):
    """What a picture got; `omnigen2.rl.Judgement` is one."""

    @property
    def value(self) -> float:
        """Higher is better."""
        ...

    @property
    def parts(self) -> Mapping[str, float]:
        """What the value was made of, by name."""
        ...

    @property
    def reason(self) -> str:
        """In words; empty if there are none."""
        ...


@runtime_checkable
class NoVerdict(Protocol):
    """Why a picture got none; `omnigen2.rl.Failure` is one."""

    @property
    def cause(self) -> str:
        """In a few words."""
        ...

    def __str__(self) -> str: ...


Chooser: TypeAlias = Callable[[Sequence[Picture]], Sequence[Verdict | NoVerdict]]
"""Looks at pictures, perhaps of several requests; the verdict on each, in their order."""


@dataclass(frozen=True)
class Judged:
    """Pictures of one request, seed after seed, and what a judge gave them; each knows it of all."""

    pictures: tuple[Picture, ...]
    choice: Choice

    @property
    def best(self) -> Picture:
        """The picture with the highest score, of equal ones the first.

        Raises:
            GenerateError: If no judgement is valid; `pictures` has them.
        """
        if self.choice.best is None:
            raise GenerateError(unjudged(self.choice), "mend the judge; the pictures are there to be judged again")
        return self.pictures[self.choice.best]


def best_of(
    generator: Generator,
    request: Request,
    chooser: Chooser,
    n: int,
    sampling: Sampling | None = None,
    *,
    by: str = "a judge",
    batch_size: int | None = None,
    progress: Progress | None = None,
) -> Judged:
    """Draw a request several times, from its seed on, and let a judge choose.

    Args:
        request: With a seed.
        chooser: Any; a `Reward` of `omnigen2.rl` is one through its `score`, as in the example.
        n: Pictures, at least 1.
        by: What the pictures' parameters call the judge.
        batch_size: Pictures drawn together; all by default.
        progress: Told after each step of each batch.

    Raises:
        GenerateError: If a value cannot be used, or the judge gives more or fewer verdicts than pictures.

    Example:
        >>> import tempfile
        >>> from omnigen2.generate.tiny import make_tiny
        >>> from omnigen2.rl import Judgement
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     generator = Generator.from_folder(make_tiny(folder))
        >>> brightness = lambda pictures: [Judgement(float(max(one.image.tobytes()))) for one in pictures]
        >>> request = Request(prompt="a red cube", height=32, width=32, seed=5)
        >>> judged = best_of(generator, request, brightness, 3, Sampling(steps=1), by="brightness")
        >>> [told for told in judged.best.parameters if told in ("best_of", "chosen_by", "choice")]
        ['best_of', 'chosen_by', 'choice']

        A reward, such as `omnigen2.rl.rewards.EditScoreReward`, is asked with
        `lambda pictures: reward.score([RewardRequest(one.request.prompt, to_pixels(one.image), references) for one in
        pictures]).outcomes()`.
    """
    check_kind("chooser", chooser, Callable, "a function of pictures")  # pyright: ignore[reportArgumentType]
    requests = candidates(request, n)
    size = n if batch_size is None else batch_size
    if size < 1:
        raise GenerateError(f"batch_size must be at least 1, got {size}", "1 needs the least memory")
    drawn = [
        picture
        for start in range(0, n, size)
        for picture in generator.many(requests[start : start + size], sampling, progress)
    ]
    (choice,) = choose([drawn], chooser, by)
    return Judged(tuple(replace(picture, choice=choice) for picture in drawn), choice)


def candidates(request: Request, n: int) -> list[Request]:
    """A request with each of n seeds.

    Raises:
        GenerateError: If n is out of range, or the request has no seed.
    """
    check_kind("the request", request, Request, "a Request")
    check_kind("best_of", n, int, "a whole number")
    check_most("best_of", n, MOST_IMAGES, GenerateError)
    if n < 1:
        raise GenerateError(f"best_of must be at least 1, got {n}", "4 is usual")
    if request.seed is None:
        raise GenerateError("the request has no seed", "give one: that of the first picture")
    return [replace(request, seed=request.seed + number) for number in range(n)]


def choose(groups: Sequence[Sequence[Picture]], chooser: Chooser, by: str) -> list[Choice]:
    """Let a judge look at the pictures of some requests, each with consecutive seeds, all at once.

    A score that is no finite number is a failed judgement.

    Raises:
        GenerateError: If the judge gives more or fewer verdicts than pictures.
    """
    pictures = [picture for group in groups for picture in group]
    verdicts = chooser(pictures)
    if len(verdicts) != len(pictures):
        raise GenerateError(
            f"the judge gave {len(verdicts)} verdicts on {len(pictures)} pictures", "it must give one for each"
        )
    rest = iter(verdicts)
    return [_choice([next(rest) for _ in group], by, group[0].request.seed or 0) for group in groups]


@dataclass(frozen=True)
class BestOf:
    """Chooses among files: the pictures of a job lie in `OUT.candidates/SEED.png` until the best becomes `OUT`.

    So what was drawn is never drawn again, whoever stops in between: the program, or the judge.

    Args:
        n: Pictures of each job.
        chooser: Who chooses.
        by: What parameters call it.
        keep_all: Whether the others stay where they are, with the scores of all in each.
    """

    n: int
    chooser: Chooser
    by: str
    keep_all: bool = False

    def candidates(self, job: Job) -> list[Job]:
        """The pictures among which one will be chosen, each a job of its own."""
        return [
            replace(job, out=self.folder(job) / f"{request.seed}.png", request=request)
            for request in candidates(job.request, self.n)
        ]

    def folder(self, job: Job) -> Path:
        """Where they lie."""
        return job.out.with_name(f"{job.out.name}.candidates")

    def settle(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Choice]]:
        """Choose among the drawn candidates of jobs, and write the best of each.

        Raises:
            GenerateError: If no picture of a job could be judged, once the others are written; its candidates stay.
        """
        groups = [[_read(one) for one in self.candidates(job)] for job in jobs]
        unsettled: list[tuple[Job, Choice]] = []
        for job, choice in zip(jobs, choose(groups, self.chooser, self.by), strict=True):
            if choice.best is None:
                unsettled.append((job, choice))
                continue
            self._write(job, choice)
            yield job, choice
        for job, choice in unsettled:
            seed = "" if job.where else f", with --seed {choice.first_seed},"
            raise GenerateError(
                f"{job.where or job.out}: {unjudged(choice)}",
                f"they are kept in {self.folder(job)}; the same command again{seed} has them judged and not drawn",
            )

    def _write(self, job: Job, choice: Choice) -> None:
        """The best one last: where it stands, the job is done."""
        drawn = [one.out for one in self.candidates(job)]
        for number, path in sorted(enumerate(drawn), key=lambda one: one[0] == choice.best):
            seed = choice.first_seed + number
            if number == choice.best or self.keep_all:
                told = {**read_parameters(path), **choice.parameters(seed)}
                save_picture(ImageReader().read(path), told, job.out if number == choice.best else path)
        for number, path in enumerate(drawn):
            if number == choice.best or not self.keep_all:
                path.unlink()
        if not any(self.folder(job).iterdir()):
            self.folder(job).rmdir()


def unjudged(choice: Choice) -> str:
    """That nobody could choose, and why."""
    return f"none of the {len(choice.scores)} pictures could be judged by {choice.by} ({choice.said[0]})"


def _choice(verdicts: Sequence[Verdict | NoVerdict], by: str, first_seed: int) -> Choice:
    told = [_told(verdict) for verdict in verdicts]
    scores, parts, said = zip(*told, strict=True)
    return Choice(by, first_seed, scores, parts, said)


def _told(verdict: Verdict | NoVerdict) -> tuple[float | None, Mapping[str, float], str]:
    """Score, parts and words."""
    if not isinstance(verdict, Verdict):
        return None, {}, str(verdict)
    if not isfinite(verdict.value):
        return None, {}, f"the score is {verdict.value}"
    return float(verdict.value), dict(verdict.parts), verdict.reason


def _read(job: Job) -> Picture:
    return Picture(ImageReader().read(job.out), job.request, job.sampling)
