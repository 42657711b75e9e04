"""The folder of a curation: what is finished lies there as a whole, under the content of its clip; nothing else counts.

OUT/curation.json           the settings that made what is here
OUT/clips/CONTENT/          clip.json: all that became of one clip; frames/ beside it
OUT/drafts/RUN/CONTENT-1/   a clip in the making: renamed when it is whole, forgotten with its run
OUT/examples.jsonl          written anew from the clips at every end, as report.md and gallery/ are
"""

import fcntl
import os
import shutil
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omnigen2.curation.items import Clip, CurationError
from omnigen2.curation.recipe import Recipe
from omnigen2.curation.records import Finished
from omnigen2.files import read_json, write_json

ATTEMPTS = 3
"""What kills its worker is tried this often in one run."""
SETTINGS, RECORD, LOCK = "curation.json", "clip.json", ".lock"
EXAMPLES, REPORT, GALLERY = "examples.jsonl", "report.md", "gallery"


class Store:
    """What a recipe has made of clips.

    Args:
        folder: Of it; made by `claimed`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.clips = self.folder / "clips"
        self.drafts = self.folder / "drafts"

    def settings(self) -> dict[str, Any]:
        """What made what is here: `identity`, `settings` and `limits` of its recipe.

        Raises:
            CurationError: If this is no folder of a curation.
        """
        settings = read_json(self.folder / SETTINGS)
        if settings is None:
            raise CurationError(f"{self.folder} is no folder of `omnigen2 curate`", "name the --out of one")
        return settings

    @contextmanager
    def claimed(self, recipe: Recipe) -> Generator[None]:
        """Make the folder this recipe's, and keep others out of it in the meantime.

        Yields:
            Nothing.

        Raises:
            CurationError: If it holds something else, or what other settings have made, or is being worked on.
        """
        with claimed_folder(self.folder, SETTINGS, {"clips", "drafts"}, "curation") as known:
            self.clips.mkdir(exist_ok=True)
            if known and (differing := list(_differing(self.settings()["settings"], recipe.settings))):
                raise CurationError(
                    f"{self.folder} was made with other settings: {'; '.join(differing[:3])}",
                    "give the same ones, or another --out",
                )
            write_json(self.folder / SETTINGS, recipe.to_json())
            self._forget_drafts()
            try:
                yield
            finally:
                self._forget_drafts()

    def finished(self) -> list[Finished]:
        """Everything that is whole, in the order of the clips' names."""
        found: list[Finished] = []
        for folder in self.clips.iterdir() if self.clips.is_dir() else ():
            values = read_json(folder / RECORD)
            if values is not None:
                found.append(Finished.from_json(folder, values))
        return sorted(found, key=lambda one: (one.clip.name, one.clip.content))

    def known(self) -> set[str]:
        """The contents of all clips that are finished."""
        return {path.name for path in self.clips.iterdir()}

    def begin(self, clip: Clip, run: str) -> Path | None:
        """A new folder to work on a clip; None if its workers have died too often in this run."""
        return attempt(self.drafts / run / clip.content)

    def commit(self, draft: Path, finished: Finished) -> bool:
        """Make a draft whole; False if another worker was faster, whose result then counts.

        Raises:
            OSError: If it cannot be done.
        """
        write_json(draft / RECORD, finished.to_json())
        try:
            draft.rename(self.clips / finished.clip.content)
        except OSError:
            if not (self.clips / finished.clip.content / RECORD).is_file():
                raise
            shutil.rmtree(draft, ignore_errors=True)
            return False
        return True

    def forget(self, contents: Collection[str]) -> None:
        """Make clips unfinished again."""
        for content in contents:
            os.replace(self.clips / content, self.drafts / content)
        self._forget_drafts()

    def _forget_drafts(self) -> None:
        shutil.rmtree(self.drafts, ignore_errors=True)
        self.drafts.mkdir(exist_ok=True)


@contextmanager
def claimed_folder(folder: Path, settings: str, own: Collection[str], what: str) -> Generator[bool]:
    """Make a folder, or take one of the same kind, and keep others out of it in the meantime.

    Args:
        settings: The file that folders of the kind have.
        own: What else lies in them before it is written.
        what: The kind, in words.

    Yields:
        Whether it was one already.

    Raises:
        CurationError: If it holds something else, or is being worked on.
    """
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set[str]()
    if settings not in there and there - {LOCK, *own}:
        raise CurationError(f"{folder} has files, and none of a {what}", "name a new or empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CurationError(
                f"another command is working in {folder}", "wait for it, or name another --out"
            ) from error
        yield settings in there


def attempt(path: Path) -> Path | None:
    """A new folder `PATH-N` for the N-th attempt at something; None after `ATTEMPTS`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in range(1, ATTEMPTS + 1):
        folder = path.with_name(f"{path.name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    return None


def _differing(old: Mapping[str, Any], new: Mapping[str, Any], place: str = "") -> Generator[str]:
    """The settings in which two recipes differ, in words."""
    for key in dict.fromkeys((*old, *new)):
        name = f"{place}{key}"
        before, now = old.get(key), new.get(key)
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _differing(before, now, f"{name}.")
        else:
            yield f"{name} was {_shown(before)}, now it is {_shown(now)}"
    if list(old) != list(new) and set(old) == set(new):
        yield f"the order of {place.rstrip('.') or 'its keys'} was {', '.join(old)}"


def _shown(value: Any) -> str:
    return "not there" if value is None else f"{value!r:.80}"
