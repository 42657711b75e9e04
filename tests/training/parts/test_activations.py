"""What a training step is said to keep, against what torch keeps; and what a base may be."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from omnigen2.adapters import LoRA, adapter_state, add_lora, is_adapter, load_lora, merge_lora, save_lora
from omnigen2.dit import DiffusionTransformer, Inputs, TransformerConfig, load_transformer
from omnigen2.errors import UserError
from omnigen2.generate import make_tiny
from omnigen2.layout import ImageSegment, Layout, TextSegment
from omnigen2.quantize import Quantization, quantize, stored_bytes
from omnigen2.training.parts import TransformerPart, VLMFolder, activation_bytes, vlm_source
from omnigen2.training.parts.transformer_part import Base, WeightsError
from tests.adapters.cases import velocity

CONFIG = TransformerConfig(
    hidden_size=240, num_layers=3, num_refiner_layers=1, num_heads=3, num_kv_heads=1, axes=(32, 24, 24), in_channels=4,
    text_dim=32, patch_size=1,
)  # fmt: skip
LAYOUT = Layout(((TextSegment(40), ImageSegment(20, 20, "target")), (TextSegment(30), ImageSegment(16, 20, "target"))))


def kept_bytes(model: DiffusionTransformer) -> int:
    """Bytes of all tensors that autograd keeps of a forward pass, the parameters excepted."""
    parameters = {each.untyped_storage().data_ptr() for each in model.parameters() if each.data_ptr()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in parameters:
            kept[place] = tensor
        return tensor

    texts, targets = LAYOUT.segments("text").total, LAYOUT.segments("target").total
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        velocity = model(torch.randn(targets, 4), torch.tensor([0.3, 0.6]), Inputs(LAYOUT, torch.randn(texts, 32)))
    del velocity
    return sum(one.untyped_storage().nbytes() for one in kept.values())


@pytest.mark.parametrize(("kind", "trained"), [("none", "weights"), ("none", "adapters"), ("int8", "adapters")])
def test_what_is_kept_is_estimated_within_a_quarter(kind: Quantization, trained: str) -> None:
    torch.manual_seed(0)
    model = DiffusionTransformer(CONFIG)
    quantize(model, kind, ("modulation",))
    if trained == "adapters":
        add_lora(model, LoRA(rank=4))
    estimated, _ = activation_bytes(model, LAYOUT, 4)
    assert 0.8 < estimated / kept_bytes(model) < 1.25


def test_blocks_that_are_computed_again_keep_their_inputs() -> None:
    model = DiffusionTransformer(CONFIG, checkpointing=("blocks", "text_refiner", "noise_refiner"))
    kept, once = activation_bytes(model, LAYOUT, 4)
    texts, targets = 70, 720
    assert kept == 4 * CONFIG.hidden_size * (3 * (texts + targets) + texts + targets)
    model.checkpointing = frozenset()
    assert sum(activation_bytes(model, LAYOUT, 4)) > kept + once
    assert activation_bytes(model, LAYOUT, 2)[0] < activation_bytes(model, LAYOUT, 4)[0]


BASES = (("int8", 0.7), ("nf4", 0.65), ("bfloat16", 1.0))


@pytest.mark.parametrize(("base", "share"), BASES)
def test_a_small_base_trains_adapters_that_any_base_reads(base: Base, share: float, tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "tiny")
    model = TransformerPart(lora=LoRA(rank=2), base=base).build(str(folder))
    plain = load_transformer(folder / "transformer", dtype=torch.bfloat16)
    weights = stored_bytes(model) - sum(one.nbytes for one in model.parameters() if one.requires_grad)
    assert weights <= share * stored_bytes(plain)
    with torch.device("meta"):
        sizes = TransformerPart(lora=LoRA(rank=2), base=base).build(str(folder))
    assert sum(getattr(one, "stored_bytes", one.nbytes) for one in sizes.parameters()) == pytest.approx(
        stored_bytes(model), abs=7 * 5 * 1300
    )
    optimizer = torch.optim.AdamW([one for one in model.parameters() if one.requires_grad], lr=1e-2)
    before = velocity(model).detach()
    for _ in range(3):
        optimizer.zero_grad()
        velocity(model).float().square().mean().backward()
        optimizer.step()
    assert all(one.dtype == torch.float32 for name, one in model.named_parameters() if is_adapter(name))
    with torch.no_grad():
        assert not torch.allclose(velocity(model), before)
        save_lora(model, tmp_path / "adapter")
        again = TransformerPart(base=base).build(str(folder), str(tmp_path / "adapter"))
        assert torch.equal(velocity(again), velocity(model))
        load_lora(plain, tmp_path / "adapter")  # the same file, over the weights as they were
        far = {"int8": 0.05, "nf4": 0.5, "bfloat16": 0.02}[base]
        assert float((velocity(plain) - velocity(model)).norm() / velocity(plain).norm()) < far
    state = adapter_state(model)
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in adapter_state(again).items()
    }
    if base != "bfloat16":
        with pytest.raises(UserError, match=r"^adapters cannot be added to quantised weights\n  "):
            merge_lora(model)


def test_a_base_that_does_not_go_with_the_rest_is_refused(tmp_path: Path) -> None:
    where = r"^model.init_args.transformer.base is"
    with pytest.raises(WeightsError, match=f"{where} int8, but weights are trained in float32\n  add transformer.lora"):
        TransformerPart(base="int8").build(str(tmp_path))
    part = TransformerPart(base="nf4", lora=LoRA())
    with pytest.raises(
        WeightsError, match=f"{where} nf4, which one device trains beside, not 2\n  set trainer.devices"
    ):
        part.check_base(False, devices=2)
    with pytest.raises(WeightsError, match=f"{where} nf4, to which adapters cannot be added at the end\n  set saved"):
        part.check_base(False, "merged")
    TransformerPart(base="bfloat16", lora=LoRA()).check_base(False, "merged")
    with pytest.raises(
        UserError, match=r"^the encoder has quantize int8, but Captions trains it\n  leave quantize out$"
    ):
        vlm_source(VLMFolder("model", quantize="int8"), None, "Captions")
