"""The joint samples of a condition, and some of them packed again."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from omnigen2.dit.backends import Borders
from omnigen2.dit.model import Condition
from omnigen2.dit.routing import Pack, Routes
from omnigen2.layout import Ragged

Places: TypeAlias = Int[Tensor, " _"]


class Part(NamedTuple):
    """Some joint samples, packed again, short ones first.

    Attributes:
        tokens: Places of their tokens on the joint axis.
        pack: The new axis, as blocks take it.
        targets: Places of their target tokens on the new axis.
        into: Places of these target tokens among all target tokens.
    """

    tokens: Places
    pack: Pack
    targets: Places
    into: Places


class Alone(NamedTuple):
    """Some joint samples as a condition of their own, which the transformer takes with all times.

    Attributes:
        condition: Of these joint samples, and of the texts, references and targets they are made of.
        x_t: Places of these targets' tokens among those of all noisy targets.
        into: Places of the velocities among those of all joint samples.
    """

    condition: Condition
    x_t: Places
    into: Places


class Rows:
    """Which token is whose, on the host: made once per condition. Nothing else here is read from the device."""

    def __init__(self, condition: Condition) -> None:
        routes = condition.routes
        self.condition = condition
        self.device = routes.owner.device
        self.targets = Ragged.of(routes.joint_targets)
        self.owner = self.targets.owners(self.device)
        self._segments = torch.tensor(self.targets.lengths, device=self.device)
        self._lengths = torch.tensor(routes.samples.lengths)
        owners = Ragged.of(routes.samples.lengths).owners()
        left = self._lengths.cumsum(0)[owners] - torch.arange(len(owners))  # of the row, from each token on
        is_target = left <= torch.tensor(self.targets.lengths)[owners]
        rank = torch.where(is_target, is_target.cumsum(0) - 1, -1)
        self._by_length = torch.argsort(self._lengths, stable=True)
        self._order = torch.argsort(self._lengths[owners], stable=True)
        self._owners, self._rank = owners[self._order], rank[self._order]
        self._source = routes.order.cpu()

    def __len__(self) -> int:
        return len(self.targets)

    def part(self, chosen: Sequence[bool]) -> Part:
        """Pack the chosen rows."""
        tokens, targets, into, borders = self._places(chosen)
        tokens, targets, into = self._sent(tokens, targets, into)
        return Part(tokens, self._pack(tokens, borders), targets, into)

    def alone(self, chosen: Sequence[bool]) -> Alone:
        """Pack the chosen rows with all that they are made of."""
        whole, routes = self.condition, self.condition.routes
        tokens, targets, into, borders = self._places(chosen)
        texts, references = len(whole.text), len(whole.references)
        used = torch.zeros(texts + references + len(routes.target_place), dtype=torch.bool)
        used[self._source[tokens]] = True
        order = (used.cumsum(0) - 1)[self._source[tokens]]
        places = order.new_full((int(used.sum()),), len(order))
        places = places.scatter_reduce(0, order, torch.arange(len(order)), "amin")
        kinds = used.split([texts, references, len(used) - texts - references])
        text, reference, target = (kind.nonzero().squeeze(1) for kind in kinds)
        text_place, reference_place, target_place = places.split([len(text), len(reference), len(target)])
        sent = self._sent(tokens, into, order, targets, text, reference, target)
        tokens, into, order, targets, text, reference, target = sent
        pack, owner = self._pack(tokens, borders), routes.owner.index_select(0, tokens)
        condition = Condition(
            samples=whole.samples,
            routes=Routes(
                order, owner, targets, *self._sent(text_place, reference_place, target_place),
                samples=borders,
                references=_some(routes.references, kinds[1], self.device),
                targets=_some(routes.targets, kinds[2], self.device),
                joint_targets=tuple(self.targets.lengths[row] for row in self._by_length.tolist() if chosen[row]),
            ),
            text=whole.text.index_select(0, text),
            references=whole.references.index_select(0, reference),
            joint_rotation=pack.rotation,
            reference_rotation=whole.reference_rotation.take(reference),
            target_rotation=whole.target_rotation.take(target),
        )  # fmt: skip
        return Alone(condition, target, into)

    def change(
        self, now: Float[Tensor, "tokens *channels"], before: Float[Tensor, "tokens *channels"]
    ) -> Float[Tensor, " rows"]:
        """How much the values of each row's target tokens changed: mean |now - before| / mean |before|, in float32."""
        before = before.float()
        numbers = torch.stack(((now.float() - before).abs().sum(1), before.abs().sum(1)), dim=1)
        sums = torch.segment_reduce(numbers, "sum", lengths=self._segments, axis=0)
        return sums[:, 0] / sums[:, 1]

    def _places(self, chosen: Sequence[bool]) -> tuple[Places, Places, Places, Borders]:
        mask = torch.tensor(chosen)
        inside = mask[self._owners]
        tokens, rank = self._order[inside], self._rank[inside]
        targets = (rank >= 0).nonzero().squeeze(1)
        lengths = self._lengths[self._by_length][mask[self._by_length]]
        borders = Borders.of(Ragged.of(lengths.tolist()), self.device)
        return tokens, targets, rank[targets], borders if borders.by_length is None else borders.sorted

    def _pack(self, tokens: Places, borders: Borders) -> Pack:
        whole = self.condition
        return Pack(whole.joint_rotation.take(tokens), borders, whole.routes.owner.index_select(0, tokens))

    def _sent(self, *indices: Places) -> tuple[Places, ...]:
        return tuple(index.to(self.device, non_blocking=True) for index in indices)


def _some(borders: Borders, used: Bool[Tensor, " tokens"], device: torch.device) -> Borders:
    """The borders of those sequences that are used, from first to last."""
    starts = Ragged.of(borders.lengths).offsets
    kept = [length for length, start in zip(borders.lengths, starts, strict=False) if length and bool(used[start])]
    return Borders.of(Ragged.of(kept), device)
