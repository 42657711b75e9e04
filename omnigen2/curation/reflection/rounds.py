"""Rounds of drawing, judging and mending, each of them once."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, TypeVar, assert_never, runtime_checkable

from omnigen2.curation import CurationError
from omnigen2.curation.reflection.attempts import Attempts, How, Try
from omnigen2.curation.reflection.folder import Reflections, RoundPlan
from omnigen2.curation.reflection.judge import ReflectionJudge, Shown, Unjudged
from omnigen2.curation.reflection.prompts import Prompt
from omnigen2.curation.reflection.results import write_results
from omnigen2.generate import Picture, Progress, Request, Sampling
from omnigen2.pictures import ImageReader, to_pixels

T = TypeVar("T")
TOGETHER = 64
"""Pictures that a judge is shown at a time; what it says is written then."""
SILENT = 8
"""Pictures of which a judge says nothing, one after another: then it is the judge, and not the pictures."""
CHUNK = 2**20
Show: TypeAlias = Callable[[str, float, int], None]
"""Is told what is being done, how much of it is done, and of how much."""


@runtime_checkable
class Drawer(Protocol):
    """Draws pictures together; a `Generator` is one."""

    def many(self, requests: Sequence[Request], sampling: Sampling, progress: Progress) -> Sequence[Picture]:
        """One picture for each request."""
        ...


@dataclass(frozen=True)
class Model:
    """What draws.

    Attributes:
        name: Of its folder, and of its adapters.
        files: Folders and files that it is loaded from.
        load: Loads it; called if there is something to draw.
    """

    name: str
    files: Sequence[Path]
    load: Callable[[], Drawer]

    @cached_property
    def drawer(self) -> Drawer:
        """The model, loaded once."""
        return self.load()

    @cached_property
    def content(self) -> str:
        """SHA-256 of all its files, with their names but not their places."""
        digest = hashlib.sha256()
        for path in self.files:
            found = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
            for file in found:
                digest.update(f"{file.relative_to(path).as_posix()} {file.stat().st_size}\n".encode())
                with file.open("rb") as content:
                    while chunk := content.read(CHUNK):
                        digest.update(chunk)
        return digest.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Mending:
    """What a call does.

    Attributes:
        rounds: Of mending, altogether: those that are there count; 0 only draws and judges.
        how: How wrong pictures are mended; None redraws them in the first round and edits them in others.
        tries: Pictures of a prompt in each round of mending.
        sampling: How they are drawn.
        batch_size: Pictures drawn together.
        retry: Also judge again what got no verdict.

    Raises:
        CurationError: If a number is out of range.
    """

    rounds: int = 1
    how: Literal["redraw", "edit"] | None = None
    tries: int = 4
    sampling: Sampling
    batch_size: int = 1
    retry: bool = False

    def __post_init__(self) -> None:
        for name, least in (("rounds", 0), ("tries", 1), ("batch_size", 1)):
            if (value := getattr(self, name)) < least:
                raise CurationError(f"{name} must be at least {least}, got {value}")

    def plan(self, number: int, model: Model, judge: ReflectionJudge) -> RoundPlan:
        """How a round is made."""
        how: How = "draw" if number == 0 else self.how or ("redraw" if number == 1 else "edit")
        tries = 1 if how == "draw" else self.tries
        return RoundPlan(how, tries, model.name, model.content, judge.by, asdict(self.sampling))


def reflect(
    out: Path,
    prompts: Sequence[Prompt],
    mending: Mending,
    model: Model,
    judge: ReflectionJudge,
    show: Show = lambda what, done, of: None,
) -> list[Attempts]:
    """Draw prompts, judge the pictures, and mend those that are wrong, round after round.

    Args:
        out: Of pictures, examples, report and gallery. It can be stopped at any time, and goes on: what is drawn and
            what is said is never asked for again.
        prompts: Are added to those that are there.

    Returns:
        All attempts at all prompts.

    Raises:
        CurationError: If the folder cannot be used, a round was begun by other means, or the judge is silent.

    Source: arXiv:2506.18871 version 4, section 9.5.2.
    """
    store = Reflections(out)
    every = [*(one.prompt for one in store.all()), *prompts]
    if not every:
        raise CurationError(f"{out} has no prompts yet", "give a file with some")
    judge.check(every)
    with store.claimed():
        store.add(prompts)
        if mending.retry:
            for one in store.all():
                store.write(one.asked_again())
        first = min((one.next for one in store.all() if one.next is not None), default=mending.rounds + 1)
        for number in range(first, mending.rounds + 1):
            store.compare(number, mending.plan(number, model, judge))
        try:
            for number in range(first, mending.rounds + 1):
                _round(store, number, mending, model, judge, show)
        finally:
            write_results(store)
        return store.all()


def _round(store: Reflections, number: int, mending: Mending, model: Model, judge: ReflectionJudge, show: Show) -> None:
    pending = [one for one in store.all() if one.next == number]
    if not pending:
        return
    plan = mending.plan(number, model, judge)
    store.settle(number, plan)
    pending = [one.begun(number, plan.tries) for one in pending]
    asked = [(one, trial) for one in pending for trial in one.rounds[number]]
    asked = [(one, trial) for one, trial in asked if not store.picture(one.prompt, trial.picture).exists()]
    what = f"round {number}"
    for done, batch in _batches(asked, mending.batch_size):

        def tell(step: int, steps: int, done: int = done, size: int = len(batch)) -> None:
            show(f"{what}: drawing", done + size * step / steps, len(asked))

        requests = [_request(store, plan.how, one, trial) for one, trial in batch]
        for (one, trial), picture in zip(batch, model.drawer.many(requests, mending.sampling, tell), strict=True):
            picture.save(store.picture(one.prompt, trial.picture))
    silent = 0
    for done, some in _batches(pending, max(1, TOGETHER // plan.tries)):
        show(f"{what}: judging", done, len(pending))
        silent = _judge(store, number, some, judge, silent)


def _request(store: Reflections, how: How, one: Attempts, trial: Try) -> Request:
    prompt = one.prompt
    match how:
        case "draw" | "redraw":
            text, images = prompt.text, ()
        case "edit":
            last = one.path[-1]
            text, images = last.verdict.edit, (store.picture(prompt, last.picture),)
        case _:
            assert_never(how)
    return Request(prompt=text, images=images, height=prompt.height, width=prompt.width, seed=trial.seed)


def _judge(store: Reflections, number: int, some: Sequence[Attempts], judge: ReflectionJudge, silent: int) -> int:
    """Have pictures of a round judged and write what is said; how many in a row got no verdict.

    Raises:
        CurationError: If these are too many.
    """
    reader = ImageReader()
    asked = [(one, trial) for one in some for trial in one.rounds[number] if not trial.judged]
    shown = [Shown(one.prompt, to_pixels(reader.read(store.picture(one.prompt, t.picture)))) for one, t in asked]
    said = judge.judge(shown)
    if len(said) != len(shown):
        raise CurationError(
            f"the judge gave {len(said)} verdicts on {len(shown)} pictures", "it must give one for each"
        )
    for one in some:
        own = {trial.picture: verdict for (asker, trial), verdict in zip(asked, said, strict=True) if asker is one}
        store.write(one.judged(number, own))
    for verdict in said:
        silent = silent + 1 if isinstance(verdict, Unjudged) else 0
        if isinstance(verdict, Unjudged) and silent == SILENT:
            raise CurationError(
                f"{silent} pictures in a row got no verdict; the last: {verdict.reason} {verdict.detail}".strip(),
                "mend the judge, then give the same command, with --retry_errors if it has answered",
            )
    return silent


def _batches(some: Sequence[T], size: int) -> Iterator[tuple[int, Sequence[T]]]:
    """So many at a time, each with the number of those before it."""
    return ((first, some[first : first + size]) for first in range(0, len(some), size))
