"""The folder of reflections: what was drawn and said of each prompt, and what made each round.

OUT/reflection.json         what each round was made with
OUT/prompts/KEY/            attempts.json: all tries at one prompt; their pictures beside it
OUT/examples.jsonl          written anew at every end, as report.md and gallery/ are
"""

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omnigen2.curation import CurationError, claimed_folder
from omnigen2.curation.reflection.attempts import Attempts, How
from omnigen2.curation.reflection.prompts import Prompt
from omnigen2.files import read_json, write_json

SETTINGS, RECORD = "reflection.json", "attempts.json"


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """What decides how a round comes out.

    Attributes:
        tries: Pictures for each prompt.
        model: Name of the model folder, and of adapters.
        content: SHA-256 of their files.
        judge: See `ReflectionJudge.by`.
        sampling: How pictures are drawn.
    """

    how: How
    tries: int
    model: str
    content: str
    judge: str
    sampling: Mapping[str, Any]

    def flat(self) -> dict[str, Any]:
        """All settings by name, as JSON has them."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {**values.pop("sampling"), **values}


class Reflections:
    """Attempts at prompts, in a folder.

    Args:
        folder: Of them; made by `claimed`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.prompts = self.folder / "prompts"

    @contextmanager
    def claimed(self) -> Generator[None]:
        """Keep others out of the folder in the meantime.

        Yields:
            Nothing.

        Raises:
            CurationError: If it holds something else, or is being worked on.
        """
        with claimed_folder(self.folder, SETTINGS, {"prompts"}, "reflection") as known:
            self.prompts.mkdir(exist_ok=True)
            if not known:
                write_json(self.folder / SETTINGS, {"rounds": []})
            yield

    def plans(self) -> list[RoundPlan]:
        """What each round so far was made with."""
        return [RoundPlan(**plan) for plan in (read_json(self.folder / SETTINGS) or {"rounds": []})["rounds"]]

    def all(self) -> list[Attempts]:
        """Everything, in the order of the prompts."""
        found = [read_json(path / RECORD) for path in self.prompts.iterdir()] if self.prompts.is_dir() else []
        read = [Attempts.from_json(values) for values in found if values is not None]
        return sorted(read, key=lambda one: (one.prompt.text, one.prompt.seed, one.prompt.key))

    def add(self, prompts: Sequence[Prompt]) -> None:
        """Take up prompts that are not there yet."""
        for prompt in prompts:
            if not (self.prompts / prompt.key / RECORD).exists():
                self.write(Attempts(prompt))

    def write(self, attempts: Attempts) -> None:
        """Write what became of a prompt."""
        (self.prompts / attempts.prompt.key).mkdir(exist_ok=True)
        write_json(self.prompts / attempts.prompt.key / RECORD, attempts.to_json())

    def picture(self, prompt: Prompt, name: str) -> Path:
        """The file of a picture."""
        return self.prompts / prompt.key / name

    def settle(self, number: int, plan: RoundPlan) -> None:
        """Say what a round is made with, unless it is said already."""
        plans = self.plans()
        if number == len(plans):
            write_json(self.folder / SETTINGS, {"rounds": [asdict(one) for one in (*plans, plan)]})

    def compare(self, number: int, plan: RoundPlan) -> None:
        """Refuse to go on with a round by other means than it was begun with.

        Raises:
            CurationError: If these are others.
        """
        plans = self.plans()
        if number >= len(plans):
            return
        begun, now = plans[number].flat(), plan.flat()
        names = [name for name in {**begun, **now} if begun.get(name) != now.get(name)]
        differing = [f"{name} was {begun.get(name)!r:.80}, now it is {now.get(name)!r:.80}" for name in names]
        if differing:
            raise CurationError(
                f"round {number} in {self.folder} was begun with other settings: {'; '.join(differing[:3])}",
                f"finish it with the same ones and --rounds {number}, or name another --out",
            )
