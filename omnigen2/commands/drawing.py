"""Jobs drawn by the commands: what is pending, in which batches, with what read ahead."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from omnigen2.commands.settings import ModelSettings, load_generator, progress_bar
from omnigen2.dit.cache import Count
from omnigen2.generate import BestOf, Choice, Generator, Job, Texts, batches, read_calibration

AHEAD = 256
"""Pictures whose texts are read before the first of them is drawn: some 100 MB, for one waking of the reader."""


def pending(jobs: Sequence[Job], model: ModelSettings, best: BestOf | None = None) -> list[Job]:
    """Those whose picture is not there.

    Raises:
        GenerateError: If a picture of that name was drawn otherwise, or TeaCache cannot go by what the model says.
    """
    polynomial = polynomial_of(model.model, jobs)
    name, adapters = model.model.resolve().name, tuple(one.name for one in model.adapters)
    chosen = (1, "") if best is None else (best.n, best.by)
    return [job for job in jobs if not job.done(name, adapters, *chosen, model.numbers, polynomial)]


def polynomial_of(model: Path, jobs: Sequence[Job]) -> tuple[float, ...]:
    """By which a model's TeaCache decides; none if its folder says nothing.

    Raises:
        GenerateError: If jobs use it, and it says nothing about how they are drawn.
    """
    calibration = read_calibration(model)
    if calibration is None:
        return ()
    for sampling in dict.fromkeys(job.sampling for job in jobs):
        calibration.check(sampling)
    return calibration.fit.coefficients


def largest(packs: Sequence[tuple[Job, ...]]) -> tuple[Job, ...]:
    """The batch that needs most memory, by the pixels that are asked for."""

    def pixels(job: Job) -> int:
        asked, side = job.request, 1024
        return (asked.height or side) * (asked.width or side) + len(asked.images) * side**2

    return max(packs, key=lambda batch: sum(map(pixels, batch)))


def saved(count: Count) -> str:
    """What reuse between steps saved, in a line; empty if nothing was reused."""
    if count.computed == count.whole:
        return ""
    return f"blocks computed: {count.computed:,} of {count.whole:,}, {count.saved:.2f} times fewer\n"


class Work:
    """Jobs to draw, in batches; with `best`, several pictures of each, of which the best is kept.

    Args:
        size: Pictures drawn together.
        overwrite: Whether also candidates that are there are drawn again.

    Attributes:
        count: How much of the drawing was computed so far.
    """

    def __init__(
        self, model: ModelSettings, jobs: Sequence[Job], size: int, best: BestOf | None, overwrite: bool = False
    ) -> None:
        self.model, self.best, self.size, self.count = model, best, size, Count()
        self.groups = list(batches(jobs, size if best is None else max(size // best.n, min(size, 1))))
        missing = [self._missing(group, overwrite) for group in self.groups]
        self.packs = [list(batches(some, size)) for some in missing]

    @property
    def batches(self) -> list[tuple[Job, ...]]:
        """All of them, in order."""
        return [batch for packs in self.packs for batch in packs]

    @property
    def largest(self) -> tuple[Job, ...]:
        """The batch that needs most memory, by the pixels that are asked for."""
        return largest(self.batches)

    def draw(self) -> Iterator[tuple[Job, int | None, str]]:
        """Draw, and give each job when its picture is written, its seed, and how it was chosen in words."""
        generator = load_generator(self.model, self.largest) if self.batches else None
        texts = iter(()) if generator is None else self._texts(generator)
        self.count = Count() if generator is None else generator.count
        steps = sum(batch[0].sampling.steps for batch in self.batches)
        with progress_bar(steps, "drawing") as tell:
            for group, packs in zip(self.groups, self.packs, strict=True):
                for batch in packs:
                    assert generator is not None  # noqa: S101  (there are batches)
                    requests = [job.request for job in batch]
                    pictures = generator.many(requests, batch[0].sampling, tell, texts=next(texts))
                    for job, picture in zip(batch, pictures, strict=True):
                        picture.save(job.out)
                        if self.best is None:
                            yield job, picture.request.seed, ""
                if self.best is not None:
                    for job, choice in self.best.settle(group):
                        yield job, choice.first_seed + (choice.best or 0), _told(choice)

    def _texts(self, generator: Generator) -> Iterator[Sequence[Texts] | None]:
        """What the language model makes of each batch; None where `many` may read it, for nothing rests meanwhile."""
        whole, each = self.batches, max(AHEAD // self.size, 1)
        if self.model.offload == "none":
            yield from [None] * len(whole)
            return
        for start in range(0, len(whole), each):
            some = whole[start : start + each]
            texts = iter(generator.read([job.request for batch in some for job in batch]))
            yield from ([next(texts) for _ in batch] for batch in some)

    def _missing(self, jobs: Sequence[Job], overwrite: bool) -> Sequence[Job]:
        if self.best is None:
            return jobs
        drawn = [one for job in jobs for one in self.best.candidates(job)]
        return drawn if overwrite else pending(drawn, self.model)


def _told(choice: Choice) -> str:
    score = "" if choice.best is None else f"{choice.scores[choice.best]:.3g}"
    failed = f", {choice.failed} judgements failed" if choice.failed else ""
    return f", the best of {len(choice.scores)} with {score}{failed}"
