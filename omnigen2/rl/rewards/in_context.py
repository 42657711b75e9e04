"""In-context pictures judged as OmniContext does: prompt following and subject consistency.

Source: OmniGen2, arXiv:2506.18871, section on OmniContext: the overall score is the geometric mean of both.
"""

from collections.abc import Sequence

from typing_extensions import override

from omnigen2.rl.reward import Failure, Judgement, Picture, RewardRequest
from omnigen2.rl.rewards.grades import Grades, Rubric, reasons, root_mean
from omnigen2.rl.rewards.judge import Judge
from omnigen2.rl.rewards.judge_reward import JudgeReward

SCALE = 10.0
"""The largest grade of both rubrics."""


class InContextReward(JudgeReward):
    """Judges whether the instruction was followed (PF) and whether the references can be recognised (SC).

    `value` is the mean over passes of sqrt(PF · SC) in [0, 1]; the parts `prompt_following` and `subject_consistency`
    are in [0, 1]. Every request needs at least one reference.

    Args:
        passes: At least 1; each has its own seed. Give the judge a temperature above 0 if there are several.
        needed: How many passes must be valid; by default all.
    """

    low, high = 0.0, 1.0
    description = "OmniContext: geometric mean of prompt following and subject consistency, judged"
    part_names = ("prompt_following", "subject_consistency")

    def __init__(self, judge: Judge, passes: int = 1, needed: int | None = None) -> None:
        rubrics = [Rubric.load("context_following", 1, SCALE), Rubric.load("context_consistency", 1, SCALE)]
        super().__init__(judge, rubrics, passes, needed)

    @override
    def problem(self, request: RewardRequest) -> Failure | None:
        if not request.references:
            return Failure("no reference", "an in-context picture is judged against its references")
        return super().problem(request)

    @override
    def questions(self, request: RewardRequest) -> Sequence[tuple[str | Picture, ...]]:
        given: list[str | Picture] = []
        for number, reference in enumerate(request.references, 1):
            given += [f"Given picture {number}:", reference]
        shown = (*given, f"Instruction: {request.prompt}", "Generated picture:", request.image)
        return [shown, shown]

    @override
    def combine(self, grades: Sequence[Grades]) -> Judgement:
        following, consistency = (one.score[0] / SCALE for one in grades)
        parts = {"prompt_following": following, "subject_consistency": consistency}
        return Judgement(root_mean(following, consistency), parts, reasons(grades))
