"""Compiling by blocks; numbers, and what needs several processes, are tested in test_ranks.py."""

import pytest

from omnigen2.generate.tiny import tiny_transformer
from omnigen2.training.parts.parallel import compile_blocks, transformer_blocks


def test_compiled_blocks_keep_their_names() -> None:
    dit = tiny_transformer()
    names = list(dit.state_dict())
    compile_blocks(dit, "eager")
    assert list(dit.state_dict()) == names
    assert all(block._compiled_call_impl is not None for block in transformer_blocks(dit))


def test_the_blocks_are_those_of_the_refiners_and_the_main_part() -> None:
    dit = tiny_transformer()
    blocks = list(transformer_blocks(dit))
    assert blocks == [dit.text_refiner[0], dit.reference_refiner[0], dit.noise_refiner[0], *dit.blocks]


def test_an_unknown_backend_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="torch.compile has no backend 'inductr'; it has .*inductor"):
        compile_blocks(tiny_transformer(), "inductr")
