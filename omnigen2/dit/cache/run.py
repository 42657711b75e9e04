"""One drawing of the transformer in which some of it is reused: the two places where that can be decided."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from typing_extensions import override

from omnigen2.dit.cache.clock import Clock, Count
from omnigen2.dit.cache.history import History, put
from omnigen2.dit.cache.rows import Rows
from omnigen2.dit.model import Condition, DiffusionTransformer
from omnigen2.errors import UserError, check_instance
from omnigen2.layout import TokenStates

if TYPE_CHECKING:
    from omnigen2.dit.cache.policy import BlockCache, Cache, StepCache


@dataclass
class Stream:
    """What is remembered of one evaluation of each step.

    Attributes:
        history: What was computed.
        signal: What the next step is compared with, of all rows; None before the first.
        numbers: One number a row, for a policy to use as it likes.
    """

    history: History
    signal: Tensor | None = None
    numbers: dict[int, float] = field(default_factory=dict)


class Run:
    """A drawing: called in the place of the transformer, at the step that the clock tells. Computes everything.

    Calls may be about fewer rows than others; these are then the first ones.
    """

    def __init__(self, clock: Clock, count: Count | None = None) -> None:
        check_instance("the clock of a drawing", clock, Clock)
        self.clock = clock
        self.count = Count() if count is None else count
        self._rows: dict[int, Rows] = {}

    def __call__(self, dit: DiffusionTransformer, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """The velocities of all targets of the joint samples, as the transformer gives them."""
        rows = self.rows(condition)
        self.counted(dit, rows, len(rows) * len(dit.blocks))
        return dit(x_t, t, condition)

    def counted(self, dit: DiffusionTransformer, rows: Rows, computed: int) -> None:
        """Count what a call computed."""
        self.count.computed += computed
        self.count.whole += len(rows) * len(dit.blocks)

    def rows(self, condition: Condition) -> Rows:
        """The rows of a condition, made once.

        Raises:
            UserError: If it is something else.
        """
        if not isinstance(condition, Condition):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UserError(
                f"the condition of a drawing with reuse is a {type(condition).__name__}, expected a Condition",
                "`DiffusionTransformer.prepare` makes one, the same for all steps",
            )
        found = self._rows.get(id(condition))
        if found is None or found.condition is not condition:
            found = self._rows[id(condition)] = Rows(condition)
        return found


class Remembering(Run):
    """A drawing that keeps what it computed, apart for each evaluation of a step."""

    def __init__(self, rule: "Cache", clock: Clock, count: Count | None, official: bool = False) -> None:
        super().__init__(clock, count)
        self._rule = rule
        self._new = lambda: Stream(History(rule.order, official))
        self._streams: dict[int, Stream] = {}
        self._drawing = clock.drawing

    def stream(self, dit: DiffusionTransformer) -> Stream:
        """That of the present evaluation; new drawings know nothing of earlier ones.

        Raises:
            UserError: If processes that share the transformer's weights could decide differently.
        """
        if self.clock.drawing != self._drawing:
            self._drawing, self._streams = self.clock.drawing, {}
        if not self._streams and not self._rule.by_step and is_sharded(dit):
            raise UserError(
                f"{type(self._rule).__name__} decides by what is drawn, but processes that share sharded weights "
                "must run the same blocks",
                "decide by the step: TaylorSeer, which is cache taylorseer",
            )
        return self._streams.setdefault(self.clock.evaluation, self._new())


def is_sharded(model: nn.Module) -> bool:
    """Whether several processes hold a model's weights together."""
    from torch.distributed.tensor import DTensor

    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


class StepRun(Remembering):
    """Decides before a step: rows that are not due get the velocity that follows from their last ones.

    Where no row is due, nothing at all is computed.
    """

    def __init__(self, policy: "StepCache", clock: Clock, count: Count | None) -> None:
        super().__init__(policy, clock, count, policy.official)
        self.policy = policy

    @override
    def __call__(self, dit: DiffusionTransformer, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        rows, stream, step = self.rows(condition), self.stream(dit), self.clock.step
        lengths = rows.targets.lengths
        history = stream.history
        forced = self.clock.must_compute or step < self.policy.warm_up
        due = [
            bool(length) and (forced or not history.has(row) or self.policy.is_due(step, row, stream.numbers))
            for row, length in enumerate(lengths)
        ]
        self.counted(dit, rows, sum(due) * len(dit.blocks))
        can = all(history.has(row) for row in range(len(rows)))
        looks_back = can and self.policy.looks_back
        if all(due) and not looks_back:
            velocity = dit(x_t, t, condition)
            history.push(step, velocity, due)
            return velocity
        predicted = history.predict(step, len(rows), rows.owner, rows.targets.total).to(x_t.dtype)
        if not any(due):
            return predicted
        if all(due):
            velocity, into = dit(x_t, t, condition), None
        else:
            part = rows.alone(due)
            some, into = dit(x_t.index_select(0, part.x_t), t, part.condition), part.into
            velocity = predicted.index_copy(0, into, some)
        if looks_back:
            errors = rows.change(predicted, velocity).tolist()  # the one wait for the device
            for row in (row for row, yes in enumerate(due) if yes):
                stream.numbers[row] = self.policy.next_due(step, errors[row], history.known[row])
        history.push(step, velocity if into is None else velocity.index_select(0, into), due, into)
        return velocity


class BlockRun(Remembering):
    """Decides inside of the transformer, in front of the blocks or behind the first ones.

    Rows that changed little get what the other blocks added to them before; the others are packed again.
    """

    def __init__(self, policy: "BlockCache", clock: Clock, count: Count | None) -> None:
        super().__init__(policy, clock, count)
        self.policy = policy

    @override
    def __call__(self, dit: DiffusionTransformer, x_t: Tensor, t: Tensor, condition: Condition) -> Tensor:
        return dit(x_t, t, condition, self._inside)

    def _inside(
        self, dit: DiffusionTransformer, states: TokenStates, time: Tensor, condition: Condition
    ) -> Float[Tensor, "targets hidden"]:
        rows, stream, step = self.rows(condition), self.stream(dit), self.clock.step
        first, rest = slice(self.policy.blocks), slice(self.policy.blocks, None)
        entered = dit.through(states, condition.joint, time, first) if self.policy.blocks else states
        base = entered.index_select(0, condition.routes.target)
        target = condition.routes.target
        front = base if entered is states else states.index_select(0, target)
        signal = self.policy.signal(dit, front, base, time, condition.routes.owner.index_select(0, target))
        due = self._due(rows, stream, signal)
        number = min(self.policy.blocks, len(dit.blocks))
        self.counted(dit, rows, len(rows) * number + sum(due) * (len(dit.blocks) - number))
        if all(due):
            targets = dit.through(entered, condition.joint, time, rest).index_select(0, condition.routes.target)
            stream.history.push(step, targets - base, due)
            return targets
        reused = base + stream.history.predict(step, len(rows), rows.owner, rows.targets.total)
        if not any(due):
            return reused
        part = rows.part(due)
        some = dit.through(entered.index_select(0, part.tokens), part.pack, time, rest).index_select(0, part.targets)
        stream.history.push(step, some - base.index_select(0, part.into), due, part.into)
        return reused.index_copy(0, part.into, some)

    def _due(self, rows: Rows, stream: Stream, signal: Tensor) -> list[bool]:
        """Which rows are computed; remembers the signal of those that it is compared with from now on."""
        forced = self.clock.must_compute or self.clock.step < self.policy.warm_up
        known = stream.history
        must = [forced or not known.has(row) for row in range(len(rows))]
        due = must
        if not all(must) and stream.signal is not None:
            before = stream.signal
            if len(before) < len(signal):
                before = put(signal, before, slice(len(before)))
            changes = rows.change(signal, before[: len(signal)]).tolist()  # the one wait for the device
            due = [
                yes or not self.policy.still(change, row, stream.numbers)
                for row, (yes, change) in enumerate(zip(must, changes, strict=True))
            ]
        for row in (row for row, yes in enumerate(due) if yes):
            stream.numbers.pop(row, None)
        self._remember(rows, stream, signal, due)
        return due

    def _remember(self, rows: Rows, stream: Stream, signal: Tensor, due: Sequence[bool]) -> None:
        old = stream.signal
        if old is None or (len(old) <= len(signal) and (all(due) or self.policy.follows)):
            stream.signal = signal
            return
        if len(old) < len(signal):
            old = put(signal, old, slice(len(old)))
        new = [True] * len(rows) if self.policy.follows else due
        chosen = torch.tensor(new, device=signal.device).index_select(0, rows.owner)[:, None]
        front = torch.where(chosen, signal, old[: len(signal)])
        stream.signal = torch.cat((front, old[len(signal) :]))
