r"""How much better a picture is than the others of its group.

$$ A_i = \frac{r_i - \operatorname{mean}(r_{g})}{\operatorname{std} + \epsilon}, $$

with the mean over the valid members of the picture's own group g, and the standard deviation of that group or of all
rewards. Groups are told apart by the ids that the sampler gave them, never by their prompt: two edits of different
pictures can have the same instruction.

Source: Shao et al., DeepSeekMath, arXiv:2402.03300, section 4.1.2; Liu et al., Flow-GRPO, arXiv:2505.05470,
section 4.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, TypeAlias, assert_never

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from omnigen2.errors import check_choice

Column: TypeAlias = Tensor | np.ndarray | Sequence[Any]
"""One entry per member, in whatever holds numbers: a tensor, an array or a list; checked where it is used."""
Scale: TypeAlias = Literal["group", "batch"]
"""What a centred reward is divided by. `"group"`: the standard deviation of its own group, so that a group whose
rewards hardly differ counts as much as any other. `"batch"`: that of all rewards, so that it counts little."""


@dataclass(frozen=True, slots=True)
class Advantages:
    """The advantages of all members, and what became of their groups.

    Attributes:
        values: Shape (members,), float32. 0 for invalid members and for members of dropped and constant groups.
        kept: Number of groups with at least two valid members, the constant ones among them.
        dropped: Number of groups with fewer.
        constant: Number of kept groups whose valid rewards are all the same: they teach nothing.
    """

    values: Float[Tensor, " members"]
    kept: int
    dropped: int
    constant: int

    @property
    def constant_share(self) -> float:
        """Share of the kept groups that are constant; NaN if no group was kept."""
        return self.constant / self.kept if self.kept else float("nan")


def group_advantages(
    rewards: Column, group: Column, valid: Column | None = None, scale: Scale = "group", epsilon: float = 1e-8
) -> Advantages:
    """Compare every member with its group; the values are on the device of `rewards`, on the host if it has none.

    Members stand behind one another, whatever the number of prompts. A table of (prompts, members) is refused, since a
    table of (members, steps) looks the same: flatten it, and give the ids with
    `torch.arange(prompts).repeat_interleave(members)`; or pass one column at a time.

    Give it the rewards of all ranks, gathered in rank order, and let each rank cut its own part out of the result:
    a group may be spread over ranks.

    Statistics are taken in float64 on the host and with the population's standard deviation (no Bessel correction),
    as both official codes do.

    - A group with one valid member, or none, has nothing to compare with: it is dropped, and its advantages are 0.
    - A group whose valid rewards are all equal teaches nothing: its advantages are 0, whatever `epsilon` is.
    - A valid reward of NaN or infinity is refused: a reward that could not be found out has `valid=False`.

    Args:
        rewards: Higher is better, shape (members,). What stands at invalid members is not looked at and may be NaN.
        group: The id of each member's group, integers.
        valid: False for a member whose reward could not be found out; all are valid if None.
        scale: What a centred reward is divided by. `"batch"` looks at all valid rewards, also of dropped groups.
        epsilon: Added to the standard deviation, not negative. The RL code of OmniGen2 takes 1e-8, flow_grpo 1e-4.

    Raises:
        ValueError: If something is no column of its kind of numbers, lengths differ, a valid reward is not finite,
            `epsilon` is negative, or there is no such `scale`.

    Example:
        >>> group_advantages(torch.tensor([0.0, 1.0, 0.5, 0.5]), [7, 7, 3, 3]).values.tolist()
        [-1.0, 1.0, 0.0, 0.0]
    """
    if not (isfinite(epsilon) and epsilon >= 0):
        raise ValueError(f"epsilon must be finite and not negative, got {epsilon}; 1e-8 is usual")
    check_choice("the scale of group_advantages", scale, Scale)
    host, ids, usable = _on_host(rewards, group, valid)
    number = torch.unique(ids, return_inverse=True)[1]
    counts = torch.zeros(int(number.max()) + 1 if len(ids) else 0, dtype=torch.float64)
    counts = counts.index_add(0, number, usable.double())
    kept = counts >= 2
    constant = kept & _constant(host, number, usable, len(counts))
    mean = torch.zeros_like(counts).index_add(0, number, torch.where(usable, host, 0)) / counts
    teaching = usable & (kept & ~constant)[number]
    centred = torch.where(teaching, host - mean[number], 0)
    match scale:
        case "group":
            std = (torch.zeros_like(counts).index_add(0, number, centred.square()) / counts).sqrt()[number]
        case "batch":
            std = (host[usable] - host[usable].mean()).square().mean().sqrt().expand_as(host)
        case _:
            assert_never(scale)
    advantages = torch.where(teaching, centred / (std + epsilon), 0).float()
    device = rewards.device if isinstance(rewards, Tensor) else torch.device("cpu")
    return Advantages(advantages.to(device), int(kept.sum()), int((~kept).sum()), int(constant.sum()))


def _on_host(
    rewards: Column, group: Column, valid: Column | None
) -> tuple[Float[Tensor, " members"], Int[Tensor, " members"], Bool[Tensor, " members"]]:
    """Rewards in float64, ids and validity, all of one length and all on the host.

    Raises:
        ValueError: If something is no column, lengths differ, or a valid reward is not finite.
    """
    host = _column("rewards", rewards, "numbers").double()
    ids = _column("group", group, "integers").long()
    usable = torch.ones(len(host), dtype=torch.bool) if valid is None else _column("valid", valid, "True or False")
    members = len(host)
    if len(ids) != members or len(usable) != members:
        raise ValueError(
            f"got {members} rewards, {len(ids)} group ids and {len(usable)} marks of validity; every member has one "
            "of each"
        )
    if not bool(host[usable].isfinite().all()):
        wrong = (usable & ~host.isfinite()).nonzero().flatten().tolist()
        raise ValueError(
            f"the rewards of members {wrong} are {host[wrong].tolist()} but marked as valid; a reward that could not "
            "be found out has valid=False"
        )
    return host, ids, usable


def _column(name: str, values: Column, kind: Literal["numbers", "integers", "True or False"]) -> Tensor:
    """One axis of one kind of numbers, on the host.

    Raises:
        ValueError: If there are more axes or none, or numbers of another kind, which a conversion would change.
    """
    try:
        found = values.detach().cpu() if isinstance(values, Tensor) else torch.from_numpy(np.array(values))
    except (TypeError, ValueError) as error:  # words, lists of different lengths
        raise ValueError(f"{name} should be one column of {kind}, got {values!r:.80}; one entry per member") from error
    if found.ndim != 1:
        raise ValueError(
            f"{name} has the shape {tuple(found.shape)}, expected (members,): members stand behind one another; "
            "flatten a table of (prompts, members), with torch.arange(prompts).repeat_interleave(members) as groups, "
            "and pass a table of (members, steps) column by column"
        )
    match kind:
        case "numbers":
            right = not found.is_complex()
        case "integers":
            right = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
        case "True or False":
            right = found.dtype == torch.bool
        case _:
            assert_never(kind)
    if not right and found.numel():
        raise ValueError(f"{name} holds {found.dtype}, expected {kind}; convert it, so that nothing is guessed")
    return found


def _constant(
    host: Float[Tensor, " members"], number: Int[Tensor, " members"], usable: Bool[Tensor, " members"], groups: int
) -> Bool[Tensor, " groups"]:
    """Groups whose lowest valid reward is their highest. By the mean they could not be told: it is rounded."""
    highest = torch.full((groups,), -torch.inf, dtype=torch.float64)
    lowest = -highest
    highest = highest.scatter_reduce(0, number[usable], host[usable], "amax")
    lowest = lowest.scatter_reduce(0, number[usable], host[usable], "amin")
    return highest == lowest
