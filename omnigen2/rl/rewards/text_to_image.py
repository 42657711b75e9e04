"""Pictures of a prompt alone, judged for what they show and how well they are made.

Source: the rubrics are ours, after VIEScore, arXiv:2312.14867: the least grade within each, the geometric mean of both.
"""

from collections.abc import Sequence

from typing_extensions import override

from omnigen2.rl.reward import Judgement, Picture, RewardRequest
from omnigen2.rl.rewards.edit_score import SCALE as QUALITY_SCALE
from omnigen2.rl.rewards.grades import Grades, Rubric, reasons, root_mean
from omnigen2.rl.rewards.judge import Judge
from omnigen2.rl.rewards.judge_reward import JudgeReward

SCALE = 10.0
"""The largest grade of prompt following."""


class TextToImageReward(JudgeReward):
    """Judges whether the prompt was followed (PF), and how well made the picture is (PQ).

    `value` is the mean over passes of sqrt(PF · PQ) in [0, 1]; the parts `prompt_following` and `perceptual_quality`
    are in [0, 1]. References, if there are any, are not shown.

    Args:
        passes: At least 1; each has its own seed. Give the judge a temperature above 0 if there are several.
        needed: How many passes must be valid; by default all.
    """

    low, high = 0.0, 1.0
    description = "text to image: geometric mean of prompt following and perceptual quality, judged"
    part_names = ("prompt_following", "perceptual_quality")

    def __init__(self, judge: Judge, passes: int = 1, needed: int | None = None) -> None:
        rubrics = [Rubric.load("prompt_following", 1, SCALE), Rubric.load("edit_quality", 2, QUALITY_SCALE)]
        super().__init__(judge, rubrics, passes, needed)

    @override
    def questions(self, request: RewardRequest) -> Sequence[tuple[str | Picture, ...]]:
        return [(f"Prompt: {request.prompt}", "The picture:", request.image), ("The picture:", request.image)]

    @override
    def combine(self, grades: Sequence[Grades]) -> Judgement:
        following, quality = grades[0].score[0] / SCALE, min(grades[1].score) / QUALITY_SCALE
        parts = {"prompt_following": following, "perceptual_quality": quality}
        return Judgement(root_mean(following, quality), parts, reasons(grades))
