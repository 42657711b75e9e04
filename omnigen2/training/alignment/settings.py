"""What a recipe says about reinforcement learning: how pictures are drawn, scored, and learned from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from omnigen2.data.samples import Task
from omnigen2.errors import check_choice
from omnigen2.files import check_most
from omnigen2.flow import NoiseLevel, TimeShift
from omnigen2.generate import Sampling
from omnigen2.rl import EqualSteps, FlowGRPOObjective, NormalizedRatio, Reward, Scale, StepSelection
from omnigen2.rl.coupled import StepWeighting

Noise: TypeAlias = Literal["member", "group"]
"""Whose own the starting noise is."""


@dataclass(frozen=True)
class RolloutPart:
    """How the pictures of an iteration are drawn.

    Attributes:
        sampling: Steps and guidance; the solver must be `euler`.
        shift: The time shift; that of the training before.
        noise_level: Of the stochastic steps.
        selection: Which steps are stochastic, and which are trained.
        noise: What pictures start from: each `member` from its own noise; or all of a `group` from one, so that they
            differ by the noise of the stochastic steps alone, and the steps before those are drawn once a group. So do
            MixGRPO (arXiv:2507.21802) and Flow-GRPO-Fast, in the code of Flow-GRPO (arXiv:2505.05470).
        groups: Prompts of an iteration, of all ranks together. The official RL configuration has 48.
        members: Pictures of each prompt, at least 2. The official RL configuration has 12.
        guided_policy: Whether the guided velocity is what is trained. If not, pictures are drawn with guidance all the
            same, and the conditional velocity alone is scored and trained: one branch in place of two or three.
        tokens: Most tokens that are drawn together, all branches of guidance counted.

    Raises:
        ValueError: If the solver is another one, or a number is out of range.
    """

    sampling: Sampling
    shift: TimeShift
    noise_level: NoiseLevel
    selection: StepSelection
    noise: Noise = "member"
    groups: int = 48
    members: int = 12
    guided_policy: bool = True
    tokens: int = 65536

    def __post_init__(self) -> None:
        if self.sampling.solver != "euler":
            raise ValueError(
                f"rollouts take Euler steps with noise, got the solver {self.sampling.solver}; write solver: euler"
            )
        check_choice("noise of a rollout", self.noise, Noise)
        if self.sampling.cache != "none" or self.sampling.guidance_every != 1:
            raise ValueError("rollouts compute every step; leave sampling.cache and sampling.guidance_every out")
        if self.sampling.time_shift is not None:
            raise ValueError(
                f"rollouts follow their own shift, got time_shift {self.sampling.time_shift}; write it as shift"
            )
        for name in ("groups", "members", "tokens"):
            check_most(f"{name} of a rollout", getattr(self, name), 2**40)
        if self.groups < 1 or self.members < 2 or self.tokens < 1:
            raise ValueError(
                "a rollout needs groups >= 1, members >= 2 and tokens >= 1, got "
                f"{self.groups}, {self.members} and {self.tokens}"
            )


@dataclass(frozen=True)
class UpdatePart:
    """How the policy learns from an iteration.

    Attributes:
        objective: Clip ranges and the weight of the KL; a weight of 0 needs no reference policy.
        weighting: How much each trained step counts; all the same if None.
        updates: Optimizer steps of an iteration, each over its share of the pictures, at least 1.
        tokens: Most tokens of a micro-batch; None for those that were drawn together, which makes the ratio of the
            first update exactly 1. It changes no gradient but by rounding.
        skip_equal: Whether pictures whose advantage is 0, as in groups of equal rewards, are left out of an update
            without a KL: they have no gradient. The ratio of the first update is then 1 as far as the transformer
            computes a picture alike in any batch.
        scale: What centred rewards are divided by.
        epsilon: See `omnigen2.rl.group_advantages`.
        max_norm: Gradients are clipped to this norm.

    Raises:
        ValueError: If a number is out of range.
    """

    objective: FlowGRPOObjective
    weighting: StepWeighting | None = None
    updates: int = 2
    tokens: int | None = None
    skip_equal: bool = False
    scale: Scale = "group"
    epsilon: float = 1e-8
    max_norm: float = 1.0

    def __post_init__(self) -> None:
        check_most("updates", self.updates, 2**20)
        check_most("tokens of an update", self.tokens, 2**40)
        if self.updates < 1 or not self.max_norm > 0 or (self.tokens is not None and self.tokens < 1):
            raise ValueError(
                "an update needs updates >= 1, max_norm > 0 and tokens >= 1, got "
                f"{self.updates}, {self.max_norm} and {self.tokens}"
            )

    @property
    def step_weights(self) -> StepWeighting:
        """The weighting that holds."""
        return EqualSteps() if self.weighting is None else self.weighting

    @property
    def needs_velocities(self) -> bool:
        """Whether the rule for the ratio looks at the velocities of the rollout."""
        return isinstance(self.objective.ratio, NormalizedRatio)


@dataclass(frozen=True)
class Watched:
    """A reward that is measured on the rollouts and never trained on.

    Attributes:
        reward: What measures.
        tasks: Whose pictures it scores; those of all tasks if None.
    """

    reward: Reward
    tasks: tuple[Task, ...] | None = None


@dataclass(frozen=True)
class RewardPart:
    """What scores the pictures.

    Attributes:
        trained: The reward of each task that the prompts ask for.
        watched: More rewards by name, which are only logged: to notice when the trained one is hacked.
        retries: How often pictures are sent again that no server has scored, after the reward's own attempts.
        wait_s: Seconds before the first time; doubled for each further one.
        own_process: Whether rewards that are not remote score in a process of their own, with one thread, while the
            next part is drawn. For rewards that take long without a GPU; leave several parts by `rollout.tokens`.

    Raises:
        ValueError: If nothing is trained, or a number is out of range.
    """

    trained: Mapping[Task, Reward]
    watched: Mapping[str, Watched] = field(default_factory=dict[str, Watched])
    retries: int = 4
    wait_s: float = 30.0
    own_process: bool = False

    def __post_init__(self) -> None:
        if not self.trained or self.retries < 0 or not self.wait_s >= 0:
            raise ValueError(
                "rewards need a reward for each task under `trained`, retries >= 0 and wait_s >= 0, got "
                f"{sorted(self.trained)}, {self.retries} and {self.wait_s}"
            )


@dataclass(frozen=True)
class Alignment:
    """Everything that reinforcement learning adds to a recipe: how pictures are scored, drawn, and learned from."""

    rewards: RewardPart
    rollout: RolloutPart
    update: UpdatePart
