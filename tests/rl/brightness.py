"""A reward that knows its picture: the mean level, so that a score on the wrong picture is seen."""

from collections.abc import Sequence

import torch

from omnigen2.rl import Failure, Judgement, Outcome, Reward, RewardError, RewardRequest, Scores


class Brightness(Reward):
    """The mean of the picture; "fail" and "nobody" get a failure that lasts or passes, "refuse" and "break" raise."""

    low, high, description = -1.0, 1.0, "mean level"
    part_names = ("red",)

    def __init__(self, ready: bool = True) -> None:
        self.ready = ready

    def score(self, requests: Sequence[RewardRequest]) -> Scores:
        return Scores.collect([self.one(request) for request in requests], self.part_names)

    def one(self, request: RewardRequest) -> Outcome:
        match request.prompt:
            case "fail":
                return Failure("unreadable", "told to: fail")
            case "nobody":
                return Failure("no answer", "from: nobody", transient=True)
            case "refuse":
                raise RewardError(f"{request.key} does not fit")
            case "break":
                raise RuntimeError("broken")
            case _:
                return Judgement(float(request.image.mean()), {"red": float(request.image[0].mean())}, request.prompt)

    def probe(self) -> None:
        if not self.ready:
            raise RewardError("the model is not there; put it there")


def pictures(count: int, prompt: str = "draw") -> list[RewardRequest]:
    """Requests that all differ, exact in 8 bits."""
    return [
        RewardRequest(prompt, torch.full((3, 2 + i % 3, 4), (2 * (11 * i % 256) - 255) / 255), key=f"picture {i}")
        for i in range(count)
    ]


def brightness(request: RewardRequest) -> float:
    return float(request.image.mean())
