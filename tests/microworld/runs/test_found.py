"""Found examples are trained on in the place of drawn ones; new reference layers leave everything else as it was."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from omnigen2.data import Batch, ConditionDropout, DataError
from omnigen2.flow import IdentityShift, RectifiedFlowObjective, UniformTimes
from omnigen2.microworld.runs import MicroWorld, NewReferences, RandomMicroVLM
from omnigen2.microworld.tasks import Family
from omnigen2.microworld.trained import MICRO_MODEL
from omnigen2.pictures import to_pixels
from omnigen2.training.flow_matching import TextPart
from omnigen2.training.parts import DCT, AdamWRecipe, TransformerPart, WarmupConstant

COLOURS = ("red", "green", "blue", "white")


def write(folder: Path, side: int = 16, task: str = "edit") -> Path:
    """A file of edits from black to each colour."""
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (side, side)).save(folder / "black.png")
    lines: list[str] = []
    for colour in COLOURS:
        Image.new("RGB", (side, side), colour).save(folder / f"{colour}.png")
        pictures = {"input_images": ["black.png"], "output_image": f"{colour}.png"}
        lines.append(json.dumps({"task_type": task, "instruction": f"make it {colour}", **pictures}))
    (folder / "found.jsonl").write_text("\n".join(lines))
    return folder / "found.jsonl"


def world(file: Path, dropout: ConditionDropout | None = None) -> MicroWorld:
    shares: dict[Family, float] = {"text_to_image": 1.0, "edit": 1.0}
    return MicroWorld(16, 9, 12, shares, dropout=dropout, validation=1, found={"edit": str(file)})


def words(batch: Batch) -> list[str]:
    return [example.instruction for example in batch.examples]


def test_found_examples_take_the_place_of_drawn_ones_of_their_family_alone(tmp_path: Path) -> None:
    data = world(write(tmp_path))
    examples = [example for step in range(4) for example in data.batch(step).examples]
    edits = [example for example in examples if example.task == "edit"]
    assert {example.instruction for example in edits} == {f"make it {colour}" for colour in COLOURS}
    assert 10 < len(edits) < 38  # of 48, half of them by chance
    for example in edits:
        assert example.target is not None
        shown = to_pixels(Image.new("RGB", (16, 16), example.instruction.split()[-1]))
        assert torch.equal(example.target, shown)
        assert torch.equal(example.references[0], to_pixels(Image.new("RGB", (16, 16))))
    held = [example for example in data.validation_batch().examples if example.task == "edit"]
    assert held
    assert not any(example.instruction.startswith("make it") for example in held)


def test_a_batch_of_found_examples_is_a_function_of_seed_and_number(tmp_path: Path) -> None:
    file = write(tmp_path)
    worlds = [MicroWorld(16, 9, 12, {"edit": 1.0}, seed=seed, found={"edit": str(file)}) for seed in (0, 0, 1)]
    batches = [tuple(words(one.batch(step))) for one in worlds for step in (3, 4)]
    assert batches[:2] == batches[2:4]
    assert len(set(batches)) == 4


def test_conditions_of_found_examples_are_dropped(tmp_path: Path) -> None:
    data = world(write(tmp_path), dropout=ConditionDropout(prompt=1.0, references=1.0))
    edits = [example for example in data.batch(0).examples if example.task == "edit"]
    assert edits
    assert all(example.prompt_dropped and not example.references and not example.instruction for example in edits)


@pytest.mark.parametrize(
    ("side", "task", "problem"),
    [(32, "edit", r"found.jsonl:1 .*\(32, 32\)"), (16, "in_context", "is of in_context")],
)
def test_examples_that_do_not_fit_are_named(tmp_path: Path, side: int, task: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        world(write(tmp_path, side, task)).batch(0)


def test_what_is_not_there_or_not_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the examples of edit"):
        world(tmp_path / "none.jsonl").batch(0)
    with pytest.raises(ValueError, match="in_context, which families does not ask for"):
        MicroWorld(16, 1, families={"edit": 1}, found={"in_context": "x.jsonl"})


def test_only_what_references_alone_go_through_is_new() -> None:
    before = TransformerPart().build(str(MICRO_MODEL)).state_dict()
    text, optimizer = TextPart(RandomMicroVLM()), AdamWRecipe(lr=1e-3)
    objective = RectifiedFlowObjective(UniformTimes(), IdentityShift())
    settings: dict[str, Any] = {"text": text, "codec": DCT(8), "optimizer": optimizer, "schedule": WarmupConstant(0)}
    module = NewReferences(TransformerPart(), objective=objective, weights=str(MICRO_MODEL), **settings)
    module.configure_model()
    after = module.dit.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"reference_embedder", "reference_refiner", "reference_index"}
