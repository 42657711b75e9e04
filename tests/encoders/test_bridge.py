"""Laws of the bridge."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.encoders import HiddenStateBridge, TokenRole, token_roles

TOKENS = (TokenRole.TEMPLATE, TokenRole.TEXT, TokenRole.IMAGE)
rows = st.lists(st.lists(st.sampled_from(TOKENS), min_size=1, max_size=9), min_size=1, max_size=4)
bridges = st.builds(
    HiddenStateBridge, tokens=st.sampled_from(("text", "all")), template=st.sampled_from(("keep", "drop"))
)


def padded(batch: list[list[TokenRole]], states: list[torch.Tensor], side: str) -> tuple[torch.Tensor, torch.Tensor]:
    """States (garbage in the padding) and roles."""
    length = max(map(len, batch)) + 1
    roles = torch.zeros(len(batch), length, dtype=torch.int8)
    out = torch.full((len(batch), length, 3), torch.nan)
    for number, (row, state) in enumerate(zip(batch, states, strict=True)):
        span = slice(0, len(row)) if side == "right" else slice(length - len(row), length)
        roles[number, span] = torch.tensor(row, dtype=torch.int8)
        out[number, span] = state
    return out, roles


@given(rows, bridges)
def test_left_and_right_padding_give_the_same_packed_states(batch, bridge) -> None:
    states = [torch.randn(len(row), 3) for row in batch]
    left = bridge(*padded(batch, states, "left"))
    right = bridge(*padded(batch, states, "right"))
    assert left.borders == right.borders
    assert torch.equal(left.states, right.states)
    assert not left.states.isnan().any()


@given(rows, bridges)
def test_only_what_was_chosen_is_passed_on(batch, bridge) -> None:
    kept = {TokenRole.TEXT}
    kept |= {TokenRole.IMAGE} if bridge.tokens == "all" else set()
    kept |= {TokenRole.TEMPLATE} if bridge.template == "keep" else set()
    states = [torch.tensor(row, dtype=torch.float32)[:, None].expand(-1, 3) for row in batch]
    packed = bridge(*padded(batch, states, "right"))
    expected = [role for row in batch for role in row if role in kept]
    assert packed.states[:, 0].tolist() == expected
    assert packed.borders.lengths == tuple(sum(role in kept for role in row) for row in batch)
    assert bridge.borders(padded(batch, states, "left")[1]) == packed.borders


def test_gradients_reach_kept_states_only_and_nothing_is_read_from_the_device() -> None:
    assert HiddenStateBridge() == HiddenStateBridge(tokens="text", template="keep")
    roles, states = torch.tensor([[1, 2, 3, 0]]), torch.randn(1, 4, 2, requires_grad=True)
    HiddenStateBridge()(states, roles).states.sum().backward()
    assert states.grad is not None
    assert states.grad[0, :, 0].tolist() == [1, 1, 0, 0]
    assert HiddenStateBridge()(torch.empty(1, 4, 8, device="meta"), roles).states.shape == (2, 8)


def test_roles_on_the_device_and_other_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="token roles are on meta, but lengths must be known on the host"):
        HiddenStateBridge().borders(torch.zeros(1, 2, dtype=torch.int8, device="meta"))
    with pytest.raises(ValueError, match=r"\(1, 4\), roles have \(1, 3\)"):
        HiddenStateBridge()(torch.zeros(1, 4, 8), torch.ones(1, 3, dtype=torch.int8))


def test_roles_by_ids() -> None:
    ids = torch.tensor([[7, 1, 9, 9, 5], [0, 0, 7, 1, 5]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    roles = token_roles(ids, mask, image_ids=(9,), template_ids=(7, 0))
    assert roles.tolist() == [[1, 2, 3, 3, 2], [0, 0, 1, 2, 2]]
