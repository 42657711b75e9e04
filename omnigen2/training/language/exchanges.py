"""Questions with their answers and requests with `<|img|>`: what a vision-language model is taught to say."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from omnigen2.data import Sample
from omnigen2.encoders import ChatTokenizer, Conversation, Message, PromptBatch, QwenEncoder, TokenRole
from omnigen2.pictures import ImageReader


@dataclass(frozen=True)
class Exchange:
    """A conversation and the right next turn of the assistant.

    Attributes:
        conversation: Ends with a message of the user.
        answer: The words of the next turn; empty where it only draws.
        draws: Whether the turn ends with `<|img|>`, and not with the end of the turn.
    """

    conversation: Conversation
    answer: str
    draws: bool

    @property
    def asked(self) -> str:
        """What the user said last."""
        return self.conversation[-1].text


@dataclass(frozen=True)
class ExchangeBatch:
    """Exchanges that make one batch. They become tokens where the tokenizer is: in the module.

    Attributes:
        exchanges: At least one.
    """

    exchanges: tuple[Exchange, ...]

    def to(self, device: torch.device, non_blocking: bool = False) -> "ExchangeBatch":
        """The batch itself: words and pictures stay on the host."""
        del device, non_blocking
        return self

    def __len__(self) -> int:
        return len(self.exchanges)


class Taught(NamedTuple):
    """A batch of conversations with their answers, and where the answers are.

    Attributes:
        prompts: Conversations, answers and what ends them, padded on the right.
        at: Places of the tokens before each token of the answers, on the axis of all tokens packed.
        targets: Ids of the tokens of the answers, the last of each `<|im_end|>` or `<|img|>`.
    """

    prompts: PromptBatch
    at: Int[Tensor, " targets"]
    targets: Int[Tensor, " targets"]


def exchange_of(sample: Sample, reader: ImageReader, system: str) -> Exchange:
    """Turn a training example of any task into what is said about it.

    With a target, the assistant is to draw; before that it says the sample's answer, if there is one. It sees the
    references.
    """
    images = tuple(reader.read(file, sample.key) for file in sample.references)
    conversation = (Message("system", system), Message("user", sample.instruction, images))
    return Exchange(conversation, sample.answer or "", sample.target is not None)


def teach(tokenizer: ChatTokenizer, exchanges: Sequence[Exchange]) -> Taught:
    """Tokenise exchanges on the host for a loss over the answers alone; each has a target more, for what ends it."""
    batch = tokenizer([each.conversation for each in exchanges], answers=[each.answer for each in exchanges])
    lengths = batch.attention_mask.sum(1)
    rows = torch.arange(len(exchanges))
    ends = torch.tensor([tokenizer.image_token_id if each.draws else tokenizer.end_id for each in exchanges])
    ids = torch.nn.functional.pad(batch.ids, (0, 1), value=tokenizer.pad_id)
    roles = torch.nn.functional.pad(batch.roles, (0, 1), value=TokenRole.PADDING)
    ids[rows, lengths] = ends
    roles[rows, lengths] = TokenRole.TEXT
    # the answer is the run of text at the end of a row: what is before it is written by the template
    last = torch.where((roles != TokenRole.TEXT) & (roles != TokenRole.PADDING), torch.arange(roles.shape[1]), 0)
    answered = (roles == TokenRole.TEXT) & (torch.arange(roles.shape[1]) > last.amax(1, keepdim=True))
    real = roles != TokenRole.PADDING
    places = answered[real].nonzero().squeeze(1)
    return Taught(replace(batch, ids=ids, roles=roles), places - 1, ids[answered])


def answer_loss(encoder: QwenEncoder, taught: Taught) -> Float[Tensor, ""]:
    """Mean cross-entropy of the tokens of the answers, what ends them included: nats per token, in float32.

    The encoder must pass all tokens on.
    """
    states = encoder(taught.prompts.to(encoder.device)).states
    predicting = states.index_select(0, taught.at.to(states.device, non_blocking=True))
    logits: Tensor = cast(Any, encoder.model).get_output_embeddings()(predicting)
    return cross_entropy(logits.float(), taught.targets.to(states.device, non_blocking=True))
