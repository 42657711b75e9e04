"""Reinforcement learning of the transformer with Flow-GRPO: draw, score, compare within groups, update."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import Any, cast

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn
from typing_extensions import override

from omnigen2.data import DataError
from omnigen2.data.batches import Batch, Example, Pixels
from omnigen2.dit import DiffusionTransformer
from omnigen2.errors import UserError, user_errors
from omnigen2.rl import Failure, GroupSampler, group_advantages
from omnigen2.training.alignment.collectives import on_all_processes
from omnigen2.training.alignment.guards import StopOnceSaved, reason_to_stop
from omnigen2.training.alignment.learner import Learner, frozen_copy
from omnigen2.training.alignment.metrics import (
    IterationReport,
    gathered,
    items_of_first_group,
    known_means,
    scored_item,
)
from omnigen2.training.alignment.policy import Policy
from omnigen2.training.alignment.prompts import HasPrompts
from omnigen2.training.alignment.rollout_worker import IterationPlan, RolloutWorker
from omnigen2.training.alignment.scoring import UNREADABLE, Scored, Scorer, request_of
from omnigen2.training.alignment.settings import Alignment
from omnigen2.training.callbacks import GridItem, log_now
from omnigen2.training.flow_matching import Drawing, FlowModel, TextPart
from omnigen2.training.parts import (
    CodecSource,
    LearningRate,
    OptimizerRecipe,
    Saved,
    Stream,
    TransformerPart,
    check_precision,
    companion_example,
)


class FlowGRPOModule(FlowModel):
    """Trains a transformer to draw pictures that a reward likes better than others for the same prompt.

    One training batch is one iteration: pictures are drawn for some prompts, several for each, with noise in some of
    the steps; they are scored; those that are better than the others of their group become more likely, in `updates`
    optimizer steps. The data say which prompts there are (`HasPrompts`); the numbers that their loader yields are not
    looked at, so that an iteration that could not be finished is drawn again.

    Everything that is drawn depends on the seed, the number of finished iterations and the rank: a run that goes on
    makes the same draws as one that was never stopped. Prompts and starting noise do not even depend on the rank.

    If no reward server answers, the iteration waits and asks again. If nobody answers to the end, or a `RewardGuard`
    among the callbacks says so, nothing is learned from the iteration: a checkpoint of the state before it is written
    by the run's `ResumePoint`, and the run stops with the reason. The same command goes on from there.

    Args:
        alignment: Rewards, rollouts, updates. The other arguments are those of `FlowModel`; `drawing` says how held-out
            prompts are drawn, and `saved: merged` lets another stage start from trained adapters.

    Raises:
        ValueError: If adapters have dropout: the ratio of such a policy with itself is not 1.

    Source: Liu et al., Flow-GRPO, arXiv:2505.05470; the paper's stage of reinforcement learning, arXiv:2506.18871.
    """

    def __init__(  # noqa: PLR0913 (each is a key of the recipe)
        self,
        transformer: TransformerPart,
        text: TextPart,
        codec: CodecSource,
        alignment: Alignment,
        optimizer: OptimizerRecipe,
        schedule: LearningRate,
        weights: str | None = None,
        optimizer_state: str | None = None,
        drawing: Drawing | None = None,
        saved: Saved = "transformer",
        adapter: str | None = None,
    ) -> None:
        if transformer.lora is not None and transformer.lora.dropout > 0:
            raise ValueError(
                f"adapters have a dropout of {transformer.lora.dropout}; a policy with dropout differs from itself, "
                "write dropout: 0"
            )
        shift = alignment.rollout.shift
        super().__init__(
            transformer, text, codec, shift, optimizer, schedule, weights, optimizer_state, drawing, saved, adapter
        )
        self.automatic_optimization = False
        self.rollout = alignment.rollout
        self.update = alignment.update
        self.scorer = Scorer(alignment.rewards)
        self._frozen: list[DiffusionTransformer] = []  # no submodule: neither trained nor saved
        self._stop = StopOnceSaved()
        self._sheet: list[GridItem] = []
        self._work = (0, 0)

    @property
    def iteration(self) -> int:
        """How many iterations are finished."""
        return self.trainer.global_step // self.update.updates

    @override
    def configure_model(self) -> None:
        """Build the frozen reference too, where there is a KL and the start is not the model without its adapters."""
        if self.transformer is not None:
            return
        super().configure_model()
        if self.update.objective.kl_weight > 0 and (self.part.lora is None or self.adapter is not None):
            self._frozen = [frozen_copy(self)]

    @override
    def setup(self, stage: str) -> None:
        """Find out whether the data and the numbers of the recipe work, before any model is loaded.

        Raises:
            UserError: If something does not.
        """
        super().setup(stage)
        check_precision(str(self.trainer.precision), self.trainer.strategy.root_device)
        if stage != "fit":
            return
        data: Any = cast(Any, self.trainer).datamodule
        if not isinstance(data, HasPrompts):
            raise UserError(
                f"FlowGRPOModule needs data with prompts, got {type(data).__name__}; use "
                "omnigen2.microworld.runs.MicroPrompts or JsonlPrompts"
            )
        total, updates = self.rollout.groups * self.rollout.members, self.update.updates
        if self.trainer.max_steps % updates:
            raise UserError(
                f"trainer.max_steps counts optimizer steps, {updates} in each iteration, got {self.trainer.max_steps}; "
                f"write a multiple of {updates}"
            )
        if total % self.trainer.world_size or total // self.trainer.world_size < updates:
            raise UserError(
                f"{self.rollout.groups} groups of {self.rollout.members} pictures cannot be shared by "
                f"{self.trainer.world_size} processes and {updates} updates; processes must divide them"
            )
        with user_errors():
            self.rollout.selection(self.rollout.sampling.steps, iteration=0)

    @override
    def on_fit_start(self) -> None:
        """Find out whether the rewards work, before anything is drawn.

        Raises:
            UserError: If one does not.
        """
        on_all_processes(self.scorer.probe)

    @override
    def teardown(self, stage: str) -> None:
        self.scorer.close()

    @override
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        self._stop.stop_if_saved(self.trainer, self.iteration)

    @override
    def on_train_epoch_start(self) -> None:
        self._stop.stop_if_saved(self.trainer, self.iteration)

    @override
    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One iteration, from prompts to updates."""
        began, plan, update = perf_counter(), self._plan(), self.update
        policy = Policy(self.dit, self.encoder, self.rollout, update, companion=self.trainer.world_size > 1)
        made = RolloutWorker(policy, self.scorer).draw(plan)
        self._work = (len(plan.members), made.tokens)
        drawn = perf_counter()

        everyone, groups = gathered(made.scored, plan.groups)
        scores = everyone.scores
        advantages = group_advantages(scores.value, groups, scores.valid, update.scale, update.epsilon)
        report = IterationReport(plan.number, everyone, advantages)
        numbers = report.numbers() | {"seconds/rollout": drawn - began - made.waited, "seconds/reward": made.waited}
        callbacks = cast(Any, self.trainer).callbacks
        if (reason := reason_to_stop(report, self.scorer.part.retries, callbacks)) is not None:
            log_now(self.trainer, numbers)
            self._stop.ask(self.trainer, reason)
            return

        own = advantages.values[len(plan.members) * self.global_rank :][: len(plan.members)]
        learner = Learner(self, policy, next(iter(self._frozen), None))
        numbers |= learner.learn(made.updates, own, plan.steps).numbers()
        numbers["seconds/update"] = perf_counter() - drawn
        self._sheet = items_of_first_group(made, plan.groups, own)
        log_now(self.trainer, numbers)
        for name in ("reward/mean", "invalid/share", "policy/ratio_first"):
            if name in numbers:
                self.log(name, numbers[name], prog_bar=True, logger=False, batch_size=1)

    @override
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Draw held-out prompts without noise in the steps, and score them."""
        if not (examples := self._of_trained_tasks(batch)):
            rank_zero_warn(f"no validation prompt asks for {', '.join(self.scorer.part.trained)}: none is scored")
            return
        scored = self._score_held_out(examples)[1]
        for name, (mean, known) in known_means(scored).items():
            self.log(f"eval/{name}", mean, batch_size=known, on_epoch=True, sync_dist=True)

    @override
    def sample_grid(self, trainer: Trainer) -> list[GridItem]:
        """Held-out prompts with their rewards, then the best and the worst of a group of the last rollout."""
        loader: Any = trainer.val_dataloaders
        batch: Batch | None = None if not loader else next(iter(loader), None)
        examples = [] if batch is None else self._of_trained_tasks(batch)[: self.drawing.shown]
        if not examples:
            return self._sheet
        pictures, scored = self._score_held_out(examples)
        held_out = [
            scored_item(example, picture, scored, number, "held out")
            for number, (example, picture) in enumerate(zip(examples, pictures, strict=True))
        ]
        return [*held_out, *self._sheet]

    def batch_samples(self, batch: Any) -> int:
        """Number of pictures of the last iteration, of this process."""
        return self._work[0]

    def batch_tokens(self, batch: Any) -> int:
        """Number of tokens of their joint samples, each counted once."""
        return self._work[1]

    def _plan(self) -> IterationPlan:
        iteration = self.iteration
        members = self._sampler().plan(iteration, self.trainer.world_size)[self.global_rank]
        prompts: dict[int, Example] = {}
        unreadable: dict[int, Failure] = {}
        for number in dict.fromkeys(member.prompt for member in members):
            try:
                prompts[number] = self._prompts.prompt(number)
            except DataError as error:
                side = self.encoder.codec.reduction * self.dit.config.patch_size
                prompts[number] = replace(companion_example(side), key=f"prompt {number}")
                unreadable[number] = Failure(UNREADABLE, error.message)
                warnings.warn(f"iteration {iteration} goes without a group: {error}", stacklevel=2)
        return IterationPlan(
            iteration,
            members,
            prompts,
            self.rollout.selection(self.rollout.sampling.steps, iteration),
            lambda part: self.seeded(Stream.STEP_NOISE, iteration, part),
            unreadable,
        )

    def _of_trained_tasks(self, batch: Batch) -> list[Example]:
        return [example for example in batch.examples if example.task in self.scorer.part.trained]

    @property
    def _prompts(self) -> HasPrompts:
        return cast(Any, self.trainer).datamodule

    def _sampler(self) -> GroupSampler:
        part = self.rollout
        shared = part.noise == "group"
        return GroupSampler(self._prompts.prompts, part.groups, part.members, self.seed % 2**63, shared)

    def _score_held_out(self, examples: Sequence[Example]) -> tuple[list[Pixels], Scored]:
        pictures = self.draw(examples)
        requests = [request_of(e, picture.clamp(-1, 1), e.key) for e, picture in zip(examples, pictures, strict=True)]
        return pictures, self.scorer.score(requests, [example.task for example in examples], patient=False)
