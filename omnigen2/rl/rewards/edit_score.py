"""EditScore: edits judged for semantic consistency and perceptual quality.

Source: arXiv:2509.23909 (EditScore), after VIEScore, arXiv:2312.14867: the least grade within each, the geometric mean
of both, the mean over passes.
"""

from collections.abc import Sequence

from typing_extensions import override

from omnigen2.rl.reward import Failure, Judgement, Picture, RewardRequest
from omnigen2.rl.rewards.grades import Grades, Rubric, reasons, root_mean
from omnigen2.rl.rewards.judge import Judge
from omnigen2.rl.rewards.judge_reward import JudgeReward

SCALE = 25.0
"""The largest grade of both rubrics."""


class EditScoreReward(JudgeReward):
    """Judges an edit: was it done and nothing else (SC), and is the picture well made (PQ).

    `value` is the mean over passes of sqrt(SC · PQ) in [0, 1]. The parts, all in [0, 1]: `prompt_following` and
    `consistency` (the two grades of SC), `semantic_consistency` (their minimum) and `perceptual_quality` (the minimum
    of naturalness and freedom from defects). The judge of quality sees the result alone, the other one sees the source
    too. Every request needs at least one reference: the source.

    The official code sets a grade that is out of range to 12.5 on its scale of 10, and one that is missing to 5; here
    both make the pass invalid.

    Args:
        passes: At least 1; each has its own seed. Give the judge a temperature above 0 if there are several.
        needed: How many passes must be valid; by default all.
    """

    low, high = 0.0, 1.0
    description = "EditScore: geometric mean of semantic consistency and perceptual quality, judged"
    part_names = ("semantic_consistency", "perceptual_quality", "prompt_following", "consistency")

    def __init__(self, judge: Judge, passes: int = 1, needed: int | None = None) -> None:
        rubrics = [Rubric.load("edit_consistency", 2, SCALE), Rubric.load("edit_quality", 2, SCALE)]
        super().__init__(judge, rubrics, passes, needed)

    @override
    def problem(self, request: RewardRequest) -> Failure | None:
        if not request.references:
            return Failure("no reference", "an edit is judged against its source")
        return super().problem(request)

    @override
    def questions(self, request: RewardRequest) -> Sequence[tuple[str | Picture, ...]]:
        result = ("After the edit:", request.image)
        before = ("Before the edit:", *request.references, f"Instruction: {request.prompt}")
        return [(*before, *result), ("The picture:", request.image)]

    @override
    def combine(self, grades: Sequence[Grades]) -> Judgement:
        consistency, quality = grades
        parts = {
            "semantic_consistency": min(consistency.score) / SCALE,
            "perceptual_quality": min(quality.score) / SCALE,
            "prompt_following": consistency.score[0] / SCALE,
            "consistency": consistency.score[1] / SCALE,
        }
        value = root_mean(parts["semantic_consistency"], parts["perceptual_quality"])
        return Judgement(value, parts, reasons(grades))
