"""A judge that says what it is told, small pictures, and records of judgements."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from PIL import Image

from omnigen2.commands.benchmarks import BENCHMARKS
from omnigen2.evaluation.judging import BenchmarkItem, BenchmarkJudge, BenchmarkResult, JudgeProtocol, Record
from omnigen2.evaluation.metrics import SUBTASKS
from omnigen2.rl import Failure, Judgement, Outcome

PROTOCOL = JudgeProtocol("test", "fixed", "1")
OMNI = BENCHMARKS["omnicontext"]
SCRIPT = "<script>alert('x')</script> & \"quotes\""


class Fixed(BenchmarkJudge):
    """Gives the scores that it is told, and remembers whom it judged."""

    def __init__(self, scores: tuple[float, float] = (4, 9), broken: Sequence[str] = (), seed: int = 0) -> None:
        self.scores, self.broken, self.asked, self.seed = scores, broken, [], seed

    @property
    def protocol(self) -> JudgeProtocol:
        return replace(PROTOCOL, seed=self.seed)

    def judge(self, items: Sequence[BenchmarkItem]) -> list[Outcome]:
        self.asked += [item.key for item in items]
        first, second = self.scores
        good = Judgement(first, {"prompt_following": first, "subject_consistency": second}, SCRIPT)
        bad = Failure("unreadable", "mumble")
        return [bad if item.key in self.broken else good for item in items]


def write_picture(path: Path, colour: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour, 40, 90)).save(path)


def items_of(folders: tuple[Path, Path]) -> list[BenchmarkItem]:
    return OMNI.items(*folders)


def result_of(records: list[Record], name: str = "a", protocol: JudgeProtocol = PROTOCOL) -> BenchmarkResult:
    return BenchmarkResult("omnicontext", name, protocol, tuple(records))


def record(number: int, score: float, valid: bool = True) -> Record:
    scores = {"prompt_following": score, "subject_consistency": score} if valid else {}
    return Record(SUBTASKS[number % 8], "en", f"k{number}", f"d{number}", scores, problem=None if valid else "broken")
