"""The part that all judged rewards share: questions out, grades in, passes averaged."""

from abc import abstractmethod
from collections.abc import Sequence

from typing_extensions import override

from omnigen2.rl.reward import (
    Failure,
    Judgement,
    Outcome,
    Picture,
    Reward,
    RewardError,
    RewardRequest,
    Scores,
    unusable_picture,
)
from omnigen2.rl.rewards.grades import Grades, Rubric
from omnigen2.rl.rewards.judge import Judge, JudgeQuestion


class JudgeReward(Reward):
    """A reward of grades: each picture is judged by some rubrics, in some passes, and the passes are averaged.

    A picture with too few valid passes has the cause of the first failure.

    Args:
        rubrics: By which each picture is judged once per pass.
        passes: At least 1; each has its own seed.
        needed: How many passes must be valid; by default all. The mean is over the valid ones.

    Raises:
        RewardError: If a number is out of range.
    """

    remote = True

    def __init__(self, judge: Judge, rubrics: Sequence[Rubric], passes: int = 1, needed: int | None = None) -> None:
        if not 1 <= (passes if needed is None else needed) <= passes:
            raise RewardError(f"a judge needs 1 <= needed <= passes, got needed {needed} and passes {passes}")
        self.judge = judge
        self.rubrics = tuple(rubrics)
        self.passes = passes
        self.needed = passes if needed is None else needed

    @abstractmethod
    def questions(self, request: RewardRequest) -> Sequence[tuple[str | Picture, ...]]:
        """What the judge is shown for each rubric; the pictures are finite."""

    @abstractmethod
    def combine(self, grades: Sequence[Grades]) -> Judgement:
        """One pass, the grades by each rubric, becomes a reward."""

    def problem(self, request: RewardRequest) -> Failure | None:
        """Why a request cannot be judged; None if it can."""
        return unusable_picture(request)

    @override
    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        problems = [self.problem(request) for request in requests]
        questions = [
            JudgeQuestion(rubric, content, number)
            for request, problem in zip(requests, problems, strict=True)
            if problem is None
            for number in range(self.passes)
            for rubric, content in zip(self.rubrics, self.questions(request), strict=True)
        ]
        answers = iter(self.judge.ask(questions))
        outcomes: list[Outcome] = []
        for problem in problems:
            passes = [] if problem else [[next(answers) for _ in self.rubrics] for _ in range(self.passes)]
            outcomes.append(problem or self._mean(passes))
        return Scores.collect(outcomes, self.part_names)

    @override
    def probe(self) -> None:
        self.judge.probe(self.rubrics[0])

    def _mean(self, passes: Sequence[Sequence[Grades | Failure]]) -> Outcome:
        failures = [answer for one in passes for answer in one if isinstance(answer, Failure)]
        whole = [[answer for answer in one if isinstance(answer, Grades)] for one in passes]
        valid = [self.combine(grades) for grades in whole if len(grades) == len(self.rubrics)]
        if len(valid) < self.needed:
            return failures[0]
        return Judgement(
            value=sum(one.value for one in valid) / len(valid),
            parts={name: sum(one.parts[name] for one in valid) / len(valid) for name in self.part_names},
            reason=valid[0].reason,
        )
