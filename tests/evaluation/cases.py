"""A judge that says what it is told, small pictures, and records of judgements."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from omnigen2.commands.benchmarks import BENCHMARKS
from omnigen2.evaluation.judging.judge import Item, Judge, Judgement, JudgeProtocol
from omnigen2.evaluation.judging.results import Record, Result
from omnigen2.evaluation.metrics.omnicontext import SUBTASKS

PROTOCOL = JudgeProtocol("test", "fixed", "1")
OMNI = BENCHMARKS["omnicontext"]
SCRIPT = "<script>alert('x')</script> & \"quotes\""


class Fixed(Judge):
    """Gives the scores that it is told, and remembers whom it judged."""

    def __init__(self, scores: tuple[float, float] = (4, 9), broken: Sequence[str] = (), seed: int = 0) -> None:
        self.scores, self.broken, self.asked, self.seed = scores, broken, [], seed

    @property
    def protocol(self) -> JudgeProtocol:
        return replace(PROTOCOL, seed=self.seed)

    def judge(self, items: Sequence[Item]) -> list[Judgement]:
        self.asked += [item.key for item in items]
        first, second = self.scores
        good = Judgement({"prompt_following": first, "subject_consistency": second}, {"judge": SCRIPT})
        bad = Judgement(problem="unreadable: mumble")
        return [bad if item.key in self.broken else good for item in items]


def write_picture(path: Path, colour: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour, 40, 90)).save(path)


def items_of(folders: tuple[Path, Path]) -> list[Item]:
    return OMNI.items(*folders)


def result_of(records: list[Record], name: str = "a", protocol: JudgeProtocol = PROTOCOL) -> Result:
    return Result("omnicontext", name, protocol, tuple(records))


def record(number: int, score: float, valid: bool = True) -> Record:
    scores = {"prompt_following": score, "subject_consistency": score}
    judgement = Judgement(scores) if valid else Judgement(problem="broken")
    return Record(f"k{number}", SUBTASKS[number % 8], "en", f"d{number}", judgement)
