"""A tiny transformer with adapters, and what it answers; its layers by their released names."""

import torch
from torch import Tensor, nn

from omnigen2.adapters import ATTENTION, LoRA, add_lora, is_adapter
from omnigen2.dit import DiffusionTransformer, Inputs, released_key
from omnigen2.generate.tiny import CONFIG, tiny_transformer
from omnigen2.layout import ImageSegment, Layout, TextSegment

STYLE = LoRA(rank=3, alpha=5.0, targets=ATTENTION)


def velocity(dit: DiffusionTransformer) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    layout = Layout(((TextSegment(5), ImageSegment(2, 2, "reference"), ImageSegment(2, 3, "target")),))

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    inputs = Inputs(layout, draw(5, CONFIG.text_dim), draw(4, CONFIG.patch_channels))
    return dit(draw(6, CONFIG.patch_channels), torch.tensor([0.4]), inputs)


def train(dit: DiffusionTransformer) -> None:
    """Give all adapters other numbers."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in dit.named_parameters():
            if is_adapter(name):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


def adapted(lora: LoRA = STYLE, trained: bool = True) -> DiffusionTransformer:
    dit = tiny_transformer()
    add_lora(dit, lora)
    if trained:
        train(dit)
    return dit


def released_tree(dit: DiffusionTransformer) -> nn.Module:
    """Bare linear layers with the released names and the sizes of a transformer's: what other programs adapt."""
    root = nn.Module()
    for name, part in dit.named_modules():
        if isinstance(part, nn.Linear):
            *above, leaf = released_key(f"{name}.weight").split(".")[:-1]
            owner = root
            for step in above:
                if not hasattr(owner, step):
                    owner.add_module(step, nn.Module())
                owner = owner.get_submodule(step)
            owner.add_module(leaf, nn.Linear(part.in_features, part.out_features, bias=False))
    return root
