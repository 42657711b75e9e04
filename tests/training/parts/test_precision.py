"""bfloat16 is refused where it is emulated, before anything is trained."""

from pathlib import Path
from typing import Any

import pytest
import torch

from omnigen2.encoders import INSTRUCTIONS, multiplies_bfloat16
from omnigen2.training.parts import check_precision
from omnigen2.training.parts.precision import PrecisionError
from tests.training.flow_parts import module, trainer, world

OLD = {"architecture": "x86_64", "cpu_name": "Old CPU", "avx2": True, "avx512_f": True, "avx512_bf16": False}


def processor(monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, Any]) -> None:
    """Be a processor with these capabilities."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)


@pytest.mark.parametrize("instructions", INSTRUCTIONS)
def test_one_instruction_is_enough(instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    processor(monkeypatch, OLD)
    assert not multiplies_bfloat16()
    processor(monkeypatch, OLD | {instructions: True})
    assert multiplies_bfloat16()
    check_precision("bf16-mixed", torch.device("cpu"))


def test_where_torch_does_not_know_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    check_precision("bf16-mixed", torch.device("cpu"))


def test_a_training_on_a_processor_that_emulates_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    processor(monkeypatch, OLD)
    for precision, device in (("32-true", "cpu"), ("bf16-mixed", "cuda"), ("16-mixed", "cpu")):
        check_precision(precision, torch.device(device))
    message = (
        "precision is bf16-mixed, but Old CPU has no instructions for bfloat16.*\n  give --trainer.precision=32-true"
    )
    model = module()
    with pytest.raises(PrecisionError, match=message):
        trainer(tmp_path, 1, precision="bf16-mixed").fit(model, datamodule=world())
    assert model.transformer is None
