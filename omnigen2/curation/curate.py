"""From a folder of clips to training examples: what is finished is skipped, the rest is done, and all is written."""

import hashlib
import uuid
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omnigen2.curation.engine import Engine, Json, Work
from omnigen2.curation.gallery import write_gallery
from omnigen2.curation.items import Clip, CurationError
from omnigen2.curation.recipe import Recipe
from omnigen2.curation.records import Finished, example, funnel, lines
from omnigen2.curation.report import report
from omnigen2.curation.store import EXAMPLES, GALLERY, REPORT, Store
from omnigen2.curation.together import sift
from omnigen2.curation.work import Row, stages
from omnigen2.errors import UserError
from omnigen2.files import write_text

MOST_IN_A_ROW = 8
"""Clips one after another of which nothing came but errors or silence; then it is the machinery, and not the clips."""
CHUNK = 2**20


@dataclass
class Progress:
    """What one command has seen and done.

    Attributes:
        clips: Different contents among the files.
        known: Clips that were finished before.
        done: Clips that were finished now.
        copies: Files with the content of another one, and its name.
        unreadable: Files that could not be read, and why.
        unanswered: Clips that wait for another try, and why.
        errors: Of the clips that were done, those in which a step raised something.
    """

    files: int = 0
    clips: int = 0
    known: int = 0
    done: int = 0
    copies: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    unreadable: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    unanswered: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    errors: int = 0


Show = Callable[[Progress], None]


def curate(
    recipe: Recipe, clips: Path, out: Path, engine: Engine, retry_errors: bool = False, show: Show = lambda _: None
) -> Progress:
    """Make examples of all clips of a folder that have not been worked on yet.

    Args:
        recipe: What is done with each.
        clips: The folder; those inside it are looked through as well.
        out: Of examples, pictures, report and gallery. It can be stopped at any time, and goes on.
        engine: Where it is done.
        retry_errors: Also do again what has ended in an error.
        show: Is told after each clip.

    Raises:
        CurationError: If a folder cannot be used, a step cannot work here, or clip after clip fails.
    """
    files = _files(recipe, clips, out)
    store, progress = Store(out), Progress(len(files))
    with store.claimed(recipe):
        checked: set[Hashable] = set()
        for name, step in recipe.steps.items():
            if step.checked_as in checked:
                continue
            checked.add(step.checked_as)
            try:
                step.check()
            except CurationError as error:
                raise error.at(f"steps.{name}") from error
        for name, looking in recipe.together.items():
            try:
                looking.check(list(recipe.steps.values()))
            except UserError as error:
                raise error.at(f"together.{name}") from error
        if retry_errors:
            store.forget([one.clip.content for one in store.finished() if one.errors])
        try:
            with engine.running():
                works = [Work(stage, stage.resources) for stage in stages(recipe, store.folder, uuid.uuid4().hex[:12])]
                engine.check([work.resources for work in works])
                rows = _rows(files, clips, store, engine, progress)
                show(progress)
                _work(rows, works, engine, progress, show)
        finally:
            write_results(recipe, store, clips, progress)
    return progress


def write_results(recipe: Recipe, store: Store, clips: Path, progress: Progress) -> None:
    """Write examples, report and gallery of everything that is finished."""
    finished, seen = sift(recipe.together, store.finished())
    write_text(store.folder / EXAMPLES, lines(_examples(recipe, store, finished)))
    counts = funnel(finished, [*recipe.steps, *(one.name for one in seen if one.drop)])
    write_gallery(store.folder / GALLERY, finished, clips, counts)
    write_text(store.folder / REPORT, report(recipe, finished, counts, seen, clips, progress))


def _examples(recipe: Recipe, store: Store, finished: Sequence[Finished]) -> list[dict[str, Any]]:
    identity = recipe.identity
    return [example(recipe.task, item, one, store.folder, identity) for one in finished for item in one.kept]


def content_of(row: Json) -> Json:
    """The SHA-256 of a file, or why it cannot be read."""
    digest = hashlib.sha256()
    try:
        with Path(row["file"]).open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        return {**row, "problem": error.strerror or type(error).__name__}
    return {**row, "content": digest.hexdigest()}


def _files(recipe: Recipe, clips: Path, out: Path) -> list[Path]:
    if not clips.is_dir():
        raise CurationError(f"there is no folder {clips}", "name one with the clips")
    if out.absolute().is_relative_to(clips.absolute()):
        raise CurationError(f"{out} lies in the folder of the clips", "name another place for the examples")
    files = sorted(
        path
        for path in clips.absolute().rglob("*")
        if path.suffix.lower() in recipe.files and not path.name.startswith(".") and not path.is_dir()
    )
    if not files:
        raise CurationError(f"{clips} has no files that end in {', '.join(recipe.files)}", "name another folder")
    return files


def _rows(files: Sequence[Path], clips: Path, store: Store, engine: Engine, progress: Progress) -> list[Row]:
    """What is still to be done, each content once, under the first of its names."""
    read = dict(engine.run([{"file": str(file)} for file in files], [Work(content_of)]))
    first: dict[str, str] = {}
    rows: list[Row] = []
    known = store.known()
    for number, file in enumerate(files):
        name = file.relative_to(clips.absolute()).as_posix()
        if "problem" in read[number]:
            progress.unreadable.append((name, read[number]["problem"]))
            continue
        content = read[number]["content"]
        if content in first:
            progress.copies.append((name, first[content]))
            continue
        first[content] = name
        if content not in known:
            rows.append(Row(Clip(name, content), str(file)))
    progress.clips, progress.known = len(first), len(first) - len(rows)
    return rows


def _work(rows: Sequence[Row], works: Sequence[Work], engine: Engine, progress: Progress, show: Show) -> None:
    in_a_row = 0
    for _, told in engine.run([row.to_json() for row in rows], works):
        name, causes = told["clip"]["name"], told["causes"]
        match told["told"]:
            case "fatal":
                raise CurationError(f"{name}: {causes[0]}", causes[1])
            case "unanswered":
                progress.unanswered.append((name, causes[0]))
            case _:
                progress.done += 1
                progress.errors += bool(causes)
        in_a_row = in_a_row + 1 if causes and not told["kept"] else 0
        show(progress)
        if in_a_row == MOST_IN_A_ROW:
            raise CurationError(
                f"{in_a_row} clips one after another have failed; the last was {name}: {causes[0]}",
                "mend what is behind it, then give the same command, with --retry_errors if it is an error",
            )
