"""`omnigen2 curate reflect`: reflection data of prompts, a model folder and a judge."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from omnigen2.commands.judging import JudgeSettings, chat_judge
from omnigen2.commands.options import note, run_command
from omnigen2.commands.settings import DrawingParser, ModelSettings, PictureSettings, load_generator, settled
from omnigen2.encoders import load_tokenizer
from omnigen2.errors import UserError, user_errors
from omnigen2.generate import Job, ModelFolder, Request, Sampling, check_jobs, planner_of

if TYPE_CHECKING:
    from omnigen2.curation.reflection import Attempts, Drawer, Model, Prompt, ReflectionJudge, Show

USAGE = "--model DIR --prompts FILE --judge JUDGE --out FOLDER [options]"
DESCRIPTION = """\
Make reflection data: a model draws prompts, a judge says what is wrong with each picture and what is to be changed, or
that it is right, and better pictures follow, round after round. OUT gets examples.jsonl, which `omnigen2 data optimize`
takes, and report.md and gallery/index.html to look at.

  omnigen2 curate reflect --model DIR --prompts prompts.txt --out OUT --judge http://127.0.0.1:8000/v1 \\
      --judge_model Qwen/Qwen2.5-VL-72B-Instruct
  omnigen2 curate reflect --model NEWER --out OUT --rounds 2 --judge … --judge_model …
  omnigen2 curate reflect --config recipes/curation/micro_reflection.yaml

In the first round wrong pictures are drawn again, with other seeds; in later ones the model edits them as the judge
says. A picture counts if the judge prefers it to the last one. After the first round train a model, then give the
command again with that model and one more round: what is there stays, and is gone on with. --rounds counts all rounds.

It can be stopped at any time: the same command goes on, and nothing is drawn or judged twice. A round is finished by
the model, judge and sampling that it was begun with.

A .txt file has a prompt on each line, a .jsonl file {"prompt": …} and any of meta, seed, height and width. The judge is
a vision-language model behind a server (its address), or `rules`, where "meta" of each line has its caption of the
micro-world.
"""


@dataclass(frozen=True, kw_only=True)
class ReflectSettings:
    """What is drawn, judged and mended.

    Attributes:
        prompts: A .txt or .jsonl file; can be left out where OUT has prompts.
        out: Folder of pictures, examples, report and gallery.
        rounds: Rounds of mending, altogether; with 0 the prompts are drawn and judged.
        mend: How wrong pictures are mended (default: redraw in the first round, edit in others).
        tries: Pictures of each prompt in a round of mending.
        batch_size: Pictures drawn together.
        retry_errors: Judge pictures again of which the judge has said nothing that can be read.
    """

    prompts: Path | None = None
    out: Path
    rounds: int = field(default=1, metadata={"most": 100})
    mend: Literal["redraw", "edit"] | None = None
    tries: int = field(default=4, metadata={"most": 1000})
    batch_size: int = 1
    retry_errors: bool = False
    judging: JudgeSettings = field(default_factory=JudgeSettings)
    model: ModelSettings
    picture: PictureSettings = field(default_factory=PictureSettings)
    sampling: Sampling = field(default_factory=Sampling)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit status."""
    return run_command(DrawingParser(ReflectSettings, "curate reflect", USAGE, DESCRIPTION), arguments, _run)


def _run(settings: ReflectSettings) -> None:
    from omnigen2.curation.reflection import Mending, Reflections, reflect

    folder = ModelFolder(settings.model.model)
    settings = replace(settings, model=settled(settings.model))
    judge = _judge(settings.judging)
    mending = Mending(
        rounds=settings.rounds,
        how=settings.mend,
        tries=settings.tries,
        sampling=settings.sampling,
        batch_size=settings.batch_size,
        retry=settings.retry_errors,
    )
    prompts = _prompts(settings)
    known = [one.prompt for one in Reflections(settings.out).all()]
    jobs = [_job(one, settings) for one in (*known, *prompts)]
    with user_errors():
        tokenizer = load_tokenizer(folder.part("processor"), settings.model.rules)
    check_jobs(jobs, planner_of(folder), tokenizer)
    with _bar() as show:
        every = reflect(settings.out, prompts, mending, _model(settings, jobs), judge, show)
    _tell(settings.out, every)


def _job(prompt: "Prompt", settings: ReflectSettings) -> Job:
    request = Request(prompt=prompt.text, height=prompt.height, width=prompt.width, seed=prompt.seed)
    return Job(settings.out, request, settings.sampling, repr(prompt.text))


def _prompts(settings: ReflectSettings) -> list["Prompt"]:
    from omnigen2.curation.reflection import read_prompts

    if settings.prompts is None:
        return []
    side = settings.picture
    return read_prompts(settings.prompts, side.seed or 0, side.height or 1024, side.width or 1024)


def _judge(settings: JudgeSettings) -> "ReflectionJudge":
    """Who judges.

    Raises:
        UserError: If the options do not say it.
    """
    from omnigen2.curation.reflection import ChatReflector
    from omnigen2.curation.steps import Server

    words = settings.judge
    if words == ("rules",):
        from omnigen2.microworld.curated import MicroReflector
        from omnigen2.microworld.world import TOLERANCE

        return MicroReflector(TOLERANCE if settings.tolerance is None else settings.tolerance)
    if not words or not all(word.startswith(("http://", "https://")) for word in words):
        got = f"--judge is {', '.join(words)}" if words else "--judge is missing"
        raise UserError(got, "expected the address of a server, such as http://127.0.0.1:8000/v1, or rules")
    if settings.judge_model is None:
        raise UserError("--judge_model is missing", "examples must say who has judged")
    if settings.judge_passes != 1:
        note("--judge_passes has no effect: words cannot be averaged")
    client = chat_judge(settings, words, settings.judge_model).client
    limits = client.poster.limits
    return ChatReflector(
        Server(words, client.model, settings.judge_key_variable, client.image_side, client.settings, limits)
    )


def _model(settings: ReflectSettings, jobs: Sequence[Job]) -> "Model":
    """What draws; it is loaded if there is room for the largest pictures, and for edits of them."""
    from PIL import Image

    from omnigen2.curation.reflection import Model

    def load() -> "Drawer":
        asked = max((job.request for job in jobs), key=lambda one: (one.height or 0) * (one.width or 0))
        blank = Image.new("RGB", (asked.width or 1, asked.height or 1))
        images = (blank,) if settings.rounds and settings.mend != "redraw" else ()
        job = replace(jobs[0], request=replace(asked, images=images))
        return load_generator(settings.model, [job] * settings.batch_size)

    model, adapters = settings.model.model, settings.model.adapters
    name = ", ".join((model.resolve().name, *(one.name for one in adapters), settings.model.numbers))
    return Model(name, [model, *(one.path for one in adapters)], load)


@contextmanager
def _bar() -> "Generator[Show]":
    """A bar on the terminal.

    Yields:
        To be told what is done, and how much of it.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as drawing:
        bar = drawing.add_task("reading", total=None)
        yield lambda what, done, of: drawing.update(bar, description=what, completed=int(done), total=of)


def _tell(out: Path, every: Sequence["Attempts"]) -> None:
    states = [one.state for one in every]
    waiting = states.count("waiting")
    if waiting:
        note(f"{waiting} prompts wait for the judge: give the same command again")
    unjudged = sum(one.outcome(len(one.rounds) - 1) == "unjudged" for one in every if one.rounds)
    if unjudged:
        note(f"of {unjudged} prompts the judge said nothing that can be read; --retry_errors asks again")
    right, mended = states.count("right"), states.count("mended")
    print(f"{len(every)} prompts: {right} right at once, {mended} mended, {states.count('wrong')} still wrong")
    examples = sum(1 for _ in (out / "examples.jsonl").open("rb"))
    print(f"wrote {out}: {examples} examples in examples.jsonl; see report.md and gallery/index.html")
