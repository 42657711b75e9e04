"""A reward of your own, added to another, and what becomes of a picture that cannot be judged.

A reward gives every picture a `Judgement` or a `Failure`. A failure is never a number: it has no advantage itself, and
its group is compared as if it had not been drawn.

    python examples/a_reward_of_your_own.py

Prints what the pictures of two prompts get, one of which has a broken pixel:

    reward: 1 × red + 0.5 × dark, in [-1, 1.5]
    a red wall 0: advantage +1.29, +1.33, red: red
    a red wall 1: advantage -0.14, +0.46, red: red
    a red wall 2: advantage -1.15, -0.17, red: not red
    a red door 3: advantage +1.00, +1.33, red: red
    a red door 4: advantage +0.00, red bad picture: it has values that are not finite
    a red door 5: advantage -1.00, -0.17, red: not red
    failures: {'red bad picture': 1}
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from omnigen2.rl import (
    Advantages,
    Failure,
    Judgement,
    Reward,
    RewardRequest,
    Scores,
    WeightedSum,
    check_scores,
    group_advantages,
)


class Redness(Reward):
    """How much more red than green and blue a picture is. A picture that is not finite cannot be judged."""

    low, high, description = -1.0, 1.0, "mean of red minus the mean of green and blue, halved"

    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        """One outcome for each picture."""
        return Scores.collect([self._judge(request.image) for request in requests])

    def _judge(self, image: Float[Tensor, "3 height width"]) -> Judgement | Failure:
        if not image.isfinite().all():
            return Failure("bad picture", "it has values that are not finite")
        red, green, blue = image.mean((1, 2)).tolist()
        return Judgement(red / 2 - (green + blue) / 4, reason="red" if red > max(green, blue) else "not red")


class Darkness(Reward):
    """How dark a picture is, whatever its colour."""

    low, high, description = 0.0, 1.0, "one minus the mean brightness"

    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        """One outcome for each picture; NaN is judged by its other pixels, so that only one reward fails below."""
        return Scores.collect([Judgement(0.5 - request.image.nanmean().item() / 2) for request in requests])


def pictures() -> list[RewardRequest]:
    """Two prompts with three pictures each; the second picture of the second prompt has a broken pixel."""
    colours = [(1, -1, -1), (0.5, 0, 0), (-1, 1, -1), (1, -1, -1), (1, -1, -1), (-1, -1, 1)]
    images = [torch.tensor(colour, dtype=torch.float32)[:, None, None].expand(3, 4, 4).clone() for colour in colours]
    images[4][0, 0, 0] = torch.nan
    prompts = ["a red wall"] * 3 + ["a red door"] * 3
    return [RewardRequest(prompt, image) for prompt, image in zip(prompts, images, strict=True)]


def main() -> tuple[Scores, Advantages]:
    """Score six pictures with the sum of two rewards and compare them within their groups."""
    requests = pictures()
    group = [0, 0, 0, 1, 1, 1]  # ids travel with the pictures: never group by the words of the prompt
    reward = WeightedSum({"red": Redness(), "dark": Darkness()}, {"red": 1.0, "dark": 0.5})
    scores = check_scores(reward, requests, reward.score(requests))
    advantages = group_advantages(scores.value, group, scores.valid)
    print(f"reward: {reward.description}, in [{reward.low:g}, {reward.high:g}]")
    for i, request in enumerate(requests):
        outcome = scores.problem[i] or f"{scores.value[i]:+.2f}, {scores.reason[i]}"
        print(f"{request.prompt} {i}: advantage {advantages.values[i]:+.2f}, {outcome}")
    print(f"failures: {scores.causes()}")
    return scores, advantages


if __name__ == "__main__":
    main()
