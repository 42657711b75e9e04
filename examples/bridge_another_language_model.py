"""Another language model in front of the diffusion transformer.

All that the bridge needs of a model is its last hidden states and what each token is. The model here is a tiny Llama
that reads bytes and has random weights, which stay as they are: they tell the prompts apart, and that is enough for the
transformer to learn in seconds to paint what they say. For yours, change `encode` and the transformer's `text_dim`.

    python examples/bridge_another_language_model.py

Prints the number of text tokens that reach the transformer, and the mean colour of a picture that it draws:

    padding on the left changes the text states by at most 5e-07
    red: 3 text tokens, drawn +1.04 -0.85 -1.06
    dark green: 10 text tokens, drawn -1.12 +0.04 -0.92
    as blue as the sea: 18 text tokens, drawn -0.99 -0.97 +0.98
"""

from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LlamaConfig, LlamaModel

from omnigen2.dit import DiffusionTransformer, Inputs, variants
from omnigen2.encoders import HiddenStateBridge, PackedText, token_roles
from omnigen2.flow import EulerSolver, IdentityShift, LogitNormalTimes, RectifiedFlowObjective, time_grid
from omnigen2.layout import ImageSegment, Layout, PaddingSide, Ragged, TextSegment, unpack, unpack_padded

PROMPTS = {"red": (1.0, -1.0, -1.0), "dark green": (-1.0, 0.0, -1.0), "as blue as the sea": (-1.0, -1.0, 1.0)}
BEGIN = 256
"""Stands in front of the bytes of a prompt, as a chat template would."""


class Result(NamedTuple):
    """How much the side of the padding matters, the number of text tokens, and the colours (prompts, 3) in [-1, 1]."""

    change: float
    text_tokens: tuple[int, ...]
    drawn: Float[Tensor, "prompts 3"]
    wanted: Float[Tensor, "prompts 3"]


@torch.no_grad()
def encode(llama: LlamaModel, prompts: list[str], side: PaddingSide = "left") -> PackedText:
    """Hidden states of the prompts' bytes, behind one another; the template is dropped."""
    rows = [torch.tensor([BEGIN, *prompt.encode()]) for prompt in prompts]
    mask = Ragged.of(map(len, rows)).mask(side=side)
    ids = unpack_padded(torch.cat(rows), mask)
    states = llama(input_ids=ids, attention_mask=mask.long()).last_hidden_state
    return HiddenStateBridge(template="drop")(states, token_roles(ids, mask, image_ids=(), template_ids=(BEGIN,)))


def plan(text: PackedText, patch_channels: int) -> Inputs:
    """One picture of 2 x 2 tokens for each prompt, without references."""
    layout = Layout(tuple((TextSegment(n), ImageSegment(2, 2, "target")) for n in text.borders.lengths))
    return Inputs(layout, text.states, references=torch.empty(0, patch_channels))


def patches(colours: Float[Tensor, "samples 3"], dit: DiffusionTransformer) -> Float[Tensor, "tokens patch_channels"]:
    """Pictures of one colour each, as tokens: the channel runs fastest in a patch."""
    return colours.repeat_interleave(4, 0).repeat(1, dit.config.patch_size**2)


def train(dit: DiffusionTransformer, inputs: Inputs, data: Tensor, steps: int, generator: torch.Generator) -> None:
    """Rectified flow on one batch; the text is refined in every step, since its refiner learns too."""
    objective = RectifiedFlowObjective(LogitNormalTimes(), IdentityShift())
    optimizer = torch.optim.Adam(dit.parameters(), lr=1e-3)
    targets = inputs.layout.per_sample("target")
    for _ in range(steps):
        loss = objective(partial(dit, condition=inputs), data, targets.owners(), targets.lengths, generator).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def draw(dit: DiffusionTransformer, inputs: Inputs, generator: torch.Generator) -> Float[Tensor, "samples 3"]:
    """Draw one picture for each prompt, and take its mean colour."""
    targets = inputs.layout.per_sample("target")
    noise = torch.randn(targets.total, dit.config.patch_channels, generator=generator)
    times = time_grid(20, IdentityShift(), targets.lengths)
    drawn = EulerSolver().solve(partial(dit, condition=dit.prepare(inputs)), noise, times, targets.owners())
    return torch.stack([picture.reshape(-1, 3).mean(0) for picture in unpack(drawn, targets)])


def main(steps: int = 60) -> Result:
    """Encode with padding on either side, train, and draw."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    dit = variants.micro()
    size = dit.config.text_dim
    config = LlamaConfig(
        vocab_size=257, hidden_size=size, intermediate_size=2 * size, num_hidden_layers=2, num_attention_heads=4
    )
    llama = LlamaModel(config).eval()
    prompts, wanted = list(PROMPTS), torch.tensor(list(PROMPTS.values()))
    text = encode(llama, prompts)
    change = (text.states - encode(llama, prompts, side="right").states).abs().max().item()
    often = encode(llama, prompts * 4)
    train(dit, plan(often, dit.config.patch_channels), patches(wanted.repeat(4, 1), dit), steps, generator)
    drawn = draw(dit, plan(text, dit.config.patch_channels), generator)
    print(f"padding on the left changes the text states by at most {change:.0e}")
    for prompt, tokens, colour in zip(prompts, text.borders.lengths, drawn.tolist(), strict=True):
        print(f"{prompt}: {tokens} text tokens, drawn " + " ".join(f"{channel:+.2f}" for channel in colour))
    return Result(change, text.borders.lengths, drawn, wanted)


if __name__ == "__main__":
    torch.set_num_threads(1)  # the tensors are too small for more
    main()
