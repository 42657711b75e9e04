"""What people need to see when reinforcement learning misbehaves: numbers, and pictures with their rewards."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

import torch
from torch import Tensor

from omnigen2.data.batches import Example, Pixels
from omnigen2.rl import Advantages, Failure, FlowGRPOLoss, Judgement, Scores
from omnigen2.runner.keep import of_all_processes
from omnigen2.training.alignment.rollout_worker import DrawnPictures
from omnigen2.training.alignment.scoring import UNREADABLE, Scored
from omnigen2.training.callbacks import GridItem

QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Of the advantages."""
SHOWN_OF_GROUP = 2
"""Best and worst pictures of a group on a sheet."""


@dataclass(frozen=True)
class IterationReport:
    """What an iteration has found out before it changes the policy; the same on every process.

    Attributes:
        iteration: Counted from 0.
        scored: The pictures of all processes, rank by rank.
        advantages: Of the same pictures.
    """

    iteration: int
    scored: Scored
    advantages: Advantages

    @property
    def invalid_share(self) -> float:
        """Share of the pictures without a reward."""
        valid = self.scored.scores.valid
        return (len(valid) - int(valid.sum())) / len(valid)

    def refused(self) -> list[Failure]:
        """Why pictures that somebody was asked about have no reward."""
        return [problem for problem in self.scored.scores.problem if problem and problem.cause != UNREADABLE]

    @property
    def refused_share(self) -> float:
        """Share of the pictures that somebody was asked about which have no reward; 0 if nobody was asked."""
        asked = int(self.scored.scores.valid.sum()) + len(self.refused())
        return len(self.refused()) / asked if asked else 0.0

    @property
    def reward(self) -> float:
        """Mean of the valid rewards; NaN if there is none."""
        return float(self.scored.scores.value.nanmean())

    def watched(self) -> dict[str, float]:
        """Mean of each watched reward over the pictures that have it; NaN if none has."""
        return {name: float(values.nanmean()) for name, values in self.scored.watched.items()}

    def causes(self) -> dict[str, int]:
        """How many pictures have no reward, by cause."""
        return self.scored.scores.causes()

    def numbers(self) -> dict[str, float]:
        """Everything for the loggers, without what is not known."""
        scores, advantages = self.scored.scores, self.advantages
        found = {
            "reward/mean": self.reward,
            "reward/std": _std(scores.value),
            "invalid/share": self.invalid_share,
            "groups/kept": float(advantages.kept),
            "groups/dropped": float(advantages.dropped),
            "groups/constant_share": advantages.constant_share,
        }
        for task in sorted(set(self.scored.tasks)):
            own = scores.value[[other == task for other in self.scored.tasks]]
            found |= {f"reward/{task}": float(own.nanmean()), f"reward/{task}_std": _std(own)}
        found |= {f"reward/{name}": float(part.nanmean()) for name, part in scores.parts.items()}
        found |= {f"watched/{name}": value for name, value in self.watched().items()}
        found |= {f"invalid/{cause.replace(' ', '_')}": float(n) for cause, n in self.causes().items()}
        quantiles = torch.quantile(advantages.values, torch.tensor(QUANTILES, dtype=torch.float32))
        found |= {f"advantage/q{100 * q:03.0f}": v for q, v in zip(QUANTILES, quantiles.tolist(), strict=True)}
        return {name: value for name, value in found.items() if value == value}


class UpdateMeter:
    """Gathers what the updates of an iteration say, without waiting for the device."""

    def __init__(self) -> None:
        self._first: list[FlowGRPOLoss] = []
        self._all: list[FlowGRPOLoss] = []
        self._norms: list[Tensor] = []

    def add(self, loss: FlowGRPOLoss, update: int) -> None:
        """Take the loss of one step of one micro-batch, without its graph; updates of an iteration count from 0."""
        kept = loss._replace(loss=loss.loss.detach())
        self._all.append(kept)
        if update == 0:
            self._first.append(kept)

    def add_norm(self, norm: Tensor) -> None:
        """Take the norm of the gradients before they were clipped."""
        self._norms.append(norm.detach())

    def numbers(self) -> dict[str, float]:
        """Everything for the loggers, of all processes; every process must call it."""
        largest = {
            "policy/ratio_first_max": max(float(one.ratio_max) for one in self._first),
            "policy/ratio_max": max(float(one.ratio_max) for one in self._all),
        }
        means = {
            "policy/ratio_first": _mean([one.ratio_mean for one in self._first]),
            "policy/clipped_low": _mean([one.clipped_low for one in self._all]),
            "policy/clipped_high": _mean([one.clipped_high for one in self._all]),
            "policy/approx_kl": _mean([one.approx_kl for one in self._all]),
            "policy/loss": float(sum(one.loss for one in self._all)),
            "policy/gradient_norm": _mean(self._norms),
        }
        distances = [one.kl for one in self._all if one.kl is not None]
        means |= {"policy/kl": _mean(distances)} if distances else {}
        everyone = of_all_processes({"largest": largest, "means": means})
        return {name: max(other["largest"][name] for other in everyone) for name in largest} | {
            name: fmean(other["means"][name] for other in everyone) for name in means
        }


def gathered(scored: Scored, groups: Sequence[int]) -> tuple[Scored, list[int]]:
    """The pictures of all processes with the group of each, rank by rank; every process must call it."""
    own = {
        "tasks": list(scored.tasks),
        "groups": list(groups),
        "outcomes": [asdict(outcome) for outcome in scored.scores.outcomes()],
        "watched": scored.watched,
    }
    found: list[Scored] = []
    everyone: list[int] = []
    for record in of_all_processes(own):
        outcomes = [Judgement(**one) if "value" in one else Failure(**one) for one in record["outcomes"]]
        scores = Scores.collect(outcomes, scored.scores.parts)
        found.append(Scored(tuple(record["tasks"]), scores, record["watched"]))
        everyone += record["groups"]
    return Scored.joined(found), everyone


def known_means(scored: Scored) -> dict[str, tuple[float, int]]:
    """The mean rewards of the pictures of all processes; every process must call it.

    Returns:
        `reward` and each watched one that some picture has: the mean, and of how many pictures.
    """
    values = {"reward": scored.scores.value} | scored.watched
    everyone = of_all_processes({"values": values})
    found: dict[str, tuple[float, int]] = {}
    for name in values:
        all_values = torch.cat([other["values"][name] for other in everyone])
        if known := int(all_values.isfinite().sum()):
            found[name] = float(all_values.nanmean()), known
    return found


def items_of_first_group(made: DrawnPictures, groups: Sequence[int], advantages: Tensor) -> list[GridItem]:
    """The best and the worst pictures of the first group, the best first; all of a group that has no more.

    Args:
        made: The pictures of this process.
        groups: The group of each.
        advantages: Of each, shape (members,).
    """
    first = [number for number, group in enumerate(groups) if group == groups[0]]
    order = sorted(first, key=lambda number: -float(advantages[number]))
    chosen = order if len(order) <= 2 * SHOWN_OF_GROUP else [*order[:SHOWN_OF_GROUP], *order[-SHOWN_OF_GROUP:]]
    return [
        scored_item(
            made.prompts[i], made.pictures[i], made.scored, i, f"rollout, advantage {float(advantages[i]):+.2f}"
        )
        for i in chosen
    ]


def scored_item(example: Example, picture: Pixels, scored: Scored, number: int, what: str) -> GridItem:
    """A picture with its reward, or why it has none.

    Args:
        example: What it was drawn for.
        picture: In [-1, 1], shape (3, height, width).
        scored: Has its score.
        number: Its place in `scored`.
        what: Kind of picture, in words.
    """
    scores = scored.scores
    watched = {name: float(values[number]) for name, values in scored.watched.items()}
    seen = "".join(f", {name} {value:.2f}" for name, value in watched.items() if value == value)
    problem = scores.problem[number]
    words = f"{float(scores.value[number]):.2f}{seen} {scores.reason[number]}" if problem is None else str(problem)
    return GridItem(example.instruction or "(no prompt)", picture, example.references, None, f"{what}: {words}".strip())


def most_common(causes: dict[str, int]) -> str:
    """The causes in words, the most frequent first."""
    return ", ".join(f"{cause} {number}" for cause, number in Counter(causes).most_common())


def _mean(values: Sequence[Tensor]) -> float:
    return fmean(float(value) for value in values)


def _std(values: Tensor) -> float:
    known = values[values.isfinite()]
    return float(known.std(correction=0)) if len(known) else float("nan")
