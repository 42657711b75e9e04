"""What a sample sheet of reinforcement learning shows: pictures with their rewards, or why they have none."""

from collections.abc import Sequence

from torch import Tensor

from omnigen2.data.batches import Example, Pixels
from omnigen2.training.alignment.rollout import Iteration
from omnigen2.training.alignment.scoring import Scored
from omnigen2.training.callbacks import GridItem

SHOWN_OF_GROUP = 2


def items_of_first_group(made: Iteration, groups: Sequence[int], advantages: Tensor) -> list[GridItem]:
    """The best and the worst pictures of the first group.

    Args:
        made: The pictures of this process.
        groups: The group of each.
        advantages: Of each, shape (members,).

    Returns:
        `SHOWN_OF_GROUP` of either kind, the best first; the whole group if it has no more.
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

    Returns:
        The item.
    """
    scores = scored.scores
    watched = {name: float(values[number]) for name, values in scored.watched.items()}
    seen = "".join(f", {name} {value:.2f}" for name, value in watched.items() if value == value)
    problem = scores.problem[number]
    words = f"{float(scores.value[number]):.2f}{seen} {scores.reason[number]}" if problem is None else problem
    return GridItem(example.instruction or "(no prompt)", picture, example.references, None, f"{what}: {words}".strip())
