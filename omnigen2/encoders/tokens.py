"""Conversations to padded token batches, with the words of people kept apart from the template."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from omnigen2.encoders.bridge import TokenIds, TokenRole, TokenRoles
from omnigen2.encoders.chat import IMAGE_TOKEN, SYSTEM_PROMPT, Conversation, Piece, drawing, render
from omnigen2.errors import UserError, check_choice
from omnigen2.files import check_most

VisionInput: TypeAlias = Literal["text", "text_and_images"]
Overflow: TypeAlias = Literal["refuse", "cut"]
PaddingSide: TypeAlias = Literal["left", "right"]
MOST_STRETCHED = 200
"""Longest side of a picture over its shortest one, as Qwen2.5-VL's image processor takes it."""


@dataclass(frozen=True)
class PromptRules:
    """How drawing prompts become tokens.

    Attributes:
        sees: What the vision-language model is shown of a drawing prompt. `"text"`: the instruction only, as in
            the official training code and plain pipeline (references reach the transformer through the VAE alone).
            `"text_and_images"`: the references too, as in the paper and the official chat pipeline.
        max_tokens: Most tokens of one conversation, template included, image tokens not counted; no limit if None.
            The official limits are 888 in training and 1024 in inference.
        overflow: What happens to longer ones: `"refuse"` raises, `"cut"` cuts off the end, closing template tokens
            included, as the official code does silently.
    """

    sees: VisionInput = "text"
    max_tokens: int | None = 1024
    overflow: Overflow = "refuse"

    def __post_init__(self) -> None:
        check_choice("sees of PromptRules", self.sees, VisionInput)
        check_choice("overflow of PromptRules", self.overflow, Overflow)
        check_most("max_tokens", self.max_tokens, 2**20)
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, got {self.max_tokens}; use None for no limit")


@dataclass(frozen=True)
class PromptBatch:
    """A padded batch for the vision-language model.

    Attributes:
        ids: Token ids, shape (batch, length).
        roles: `TokenRole` of each token, always on the host.
        pixel_values: Flattened image patches of the whole batch; None without images.
        grids: (time, height, width) of each image in patches, always on the host; None without images.
    """

    ids: TokenIds
    roles: TokenRoles
    pixel_values: Float[Tensor, "patches features"] | None = None
    grids: Int[Tensor, "images 3"] | None = None

    def to(self, device: torch.device | str) -> "PromptBatch":
        """The batch with ids and pixels on a device; roles and grids stay on the host, where lengths are read."""
        pixels = None if self.pixel_values is None else self.pixel_values.to(device, non_blocking=True)
        return replace(self, ids=self.ids.to(device, non_blocking=True), pixel_values=pixels)

    @property
    def attention_mask(self) -> Int[Tensor, "batch length"]:
        """1 where there is a token, on the host."""
        return (self.roles != TokenRole.PADDING).long()

    @property
    def image_mask(self) -> Int[Tensor, "batch length"]:
        """1 where a token stands for a part of an image (what transformers calls `mm_token_type_ids`), on the host."""
        return (self.roles == TokenRole.IMAGE).long()


class _Row(NamedTuple):
    ids: list[int]
    roles: list[TokenRole]


class ChatTokenizer:
    """Tokenises conversations in the template of Qwen2.5-VL and knows what each token is.

    Words of people never become template tokens: each run of text is tokenised by a copy of the tokenizer that reads
    special tokens as plain letters. Without special tokens in the text the ids are those of the official code.
    `<|img|>` is added to the vocabulary when it is missing.

    Args:
        tokenizer: A fast tokenizer of transformers with the special tokens of Qwen2.5-VL.
        image_processor: Turns images into patches; needed only where the model is shown images.
        rules: Limits and what the model is shown.

    Raises:
        ValueError: If the tokenizer lacks a token of the template, or would read it in what users write.
    """

    def __init__(self, tokenizer: Any, image_processor: Any = None, rules: PromptRules | None = None) -> None:
        self.rules = PromptRules() if rules is None else rules
        before = len(tokenizer)
        if IMAGE_TOKEN not in tokenizer.get_vocab():
            tokenizer.add_tokens([IMAGE_TOKEN], special_tokens=True)
        self.added = len(tokenizer) - before
        self.tokenizer = tokenizer
        self.image_processor = image_processor
        names = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", IMAGE_TOKEN)
        vocabulary: dict[str, int] = tokenizer.get_vocab()
        missing = [name for name in names if name not in vocabulary]
        if missing:
            raise ValueError(f"the tokenizer has no {', '.join(missing)}; use that of Qwen2.5-VL or one like it")
        self.special_ids = {name: vocabulary[name] for name in names}
        self.pad_id: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.end_id
        self.text_end_id = vocabulary.get("<|endoftext|>", self.end_id)  # converters take another one for padding
        self._plain = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
        self._plain.no_padding()
        self._plain.no_truncation()
        read = [name for name in names if self.special_ids[name] in self._encode(name).ids]
        if read:
            raise ValueError(
                f"the tokenizer does not count {', '.join(read)} as special, so users could write template tokens; "
                "add them with special_tokens=True"
            )

    @property
    def image_token_id(self) -> int:
        """Id of `<|img|>`."""
        return self.special_ids[IMAGE_TOKEN]

    @property
    def ends(self) -> tuple[int, ...]:
        """Ids at which an answer ends."""
        return (self.end_id, self.text_end_id, self.pad_id, self.image_token_id)

    @property
    def end_id(self) -> int:
        """Id of `<|im_end|>`."""
        return self.special_ids["<|im_end|>"]

    def __len__(self) -> int:
        return len(self.tokenizer)

    def drawings(
        self,
        texts: Sequence[str],
        references: Sequence[Sequence[Image.Image]] | None = None,
        system: str = SYSTEM_PROMPT,
    ) -> PromptBatch:
        """Prompts that condition drawings, padded on the right, on the host.

        Args:
            texts: One instruction per sample.
            references: The reference images of each sample; looked at only if the rules say that the model sees them.
            system: System prompt of all.

        Raises:
            ValueError: If there are not as many lists of references as texts.
        """
        shown = [()] * len(texts) if references is None else references
        if len(shown) != len(texts):
            raise ValueError(f"got {len(texts)} prompts and references for {len(shown)}; give one list per prompt")
        sees = self.rules.sees == "text_and_images"
        return self([drawing(text, images if sees else (), system) for text, images in zip(texts, shown, strict=True)])

    def __call__(
        self,
        conversations: Sequence[Conversation],
        answers: Sequence[str] | None = None,
        padding: PaddingSide = "right",
    ) -> PromptBatch:
        """Tokenise conversations, into a batch on the host.

        Args:
            conversations: One per sample.
            answers: How the assistant's next turn begins in each, `""` to let it speak; None for no further turn.
            padding: Side of the padding; generation needs `"left"`.

        Raises:
            ValueError: If the batch is empty, answers and conversations differ in number, a conversation is too long,
                or images are given without an image processor.
        """
        if not conversations:
            raise ValueError("got no conversations; a batch needs at least one")
        if answers is not None and len(answers) != len(conversations):
            raise ValueError(f"got {len(conversations)} conversations and {len(answers)} answers; give one for each")
        images = [image for talk in conversations for message in talk for image in message.images]
        pixels, grids, lengths = self._patches(images)
        rows: list[_Row] = []
        first = 0
        for number, talk in enumerate(conversations):
            count = sum(len(message.images) for message in talk)
            pieces = render(talk, None if answers is None else answers[number])
            row = self._row(pieces, lengths[first : first + count])
            name = (
                "the conversation" if len(conversations) == 1 else f"conversation {number + 1} of {len(conversations)}"
            )
            rows.append(self._limited(row, name, open_end=answers is not None))
            first += count
        ids, roles = self._padded(rows, padding)
        return PromptBatch(ids, roles, pixels, grids)

    def _patches(self, images: list[Image.Image]) -> tuple[Tensor | None, Tensor | None, list[int]]:
        # patches and grids of all images, and how many tokens each takes
        if not images:
            return None, None, []
        if self.image_processor is None:
            raise ValueError(
                f"got {len(images)} images, but no image processor was loaded; the processor folder needs a "
                "preprocessor_config.json, or leave the images out"
            )
        for number, image in enumerate(images, start=1):
            check_proportions(image, f"image {number} of {len(images)}")
        made = self.image_processor(images=images, return_tensors="pt")
        grids: Tensor = made["image_grid_thw"]
        lengths = (grids.prod(1) // self.image_processor.merge_size**2).tolist()
        return made["pixel_values"], grids, lengths

    def count(self, conversation: Conversation, answer: str | None = None) -> int:
        """How many tokens a conversation has, template included, those of pictures not counted."""
        pictures = sum(len(message.images) for message in conversation)
        return len(self._row(render(conversation, answer), [0] * pictures).ids)

    def unknown(self, text: str) -> tuple[str, ...]:
        """The words of a text that the vocabulary lacks, each once; none where it has a token for every byte."""
        encoding, unknown = self._encode(text), self.tokenizer.unk_token_id
        places = [place for token, place in zip(encoding.ids, encoding.offsets, strict=True) if token == unknown]
        return tuple(dict.fromkeys(text[start:end] for start, end in places))

    def _encode(self, text: str) -> Any:
        """Tokenise letters as letters."""
        # set each time: copies of a tokenizer, also those in data loader workers, forget it
        self._plain.encode_special_tokens = True
        return self._plain.encode(text, add_special_tokens=False)

    def _row(self, pieces: list[Piece], image_lengths: list[int]) -> _Row:
        row = _Row([], [])
        for piece in pieces:
            if piece.special:
                repeats = 1 if piece.image is None else image_lengths[piece.image]
                role = TokenRole.TEMPLATE if piece.image is None else TokenRole.IMAGE
                row.ids.extend([self.special_ids[piece.text]] * repeats)
                row.roles.extend([role] * repeats)
                continue
            encoding = self._encode(piece.text)
            row.ids.extend(encoding.ids)
            ends = (end for _, end in encoding.offsets)
            row.roles.extend(TokenRole.TEXT if end > piece.template else TokenRole.TEMPLATE for end in ends)
        return row

    def _limited(self, row: _Row, name: str, open_end: bool) -> _Row:
        limit = self.rules.max_tokens
        words = sum(role != TokenRole.IMAGE for role in row.roles)
        if limit is None or words <= limit:
            return row
        keep = len(row.ids) - (words - limit)
        if self.rules.overflow == "refuse" or open_end or TokenRole.IMAGE in row.roles[keep:]:
            raise UserError(
                f"{name} has {words} text tokens (template included), at most {limit} are allowed",
                "shorten it",
                {"max_tokens": "raise {}", "overflow": "set {} to cut (which cuts neither images nor open answers)"},
            )
        return _Row(row.ids[:keep], row.roles[:keep])

    def _padded(self, rows: list[_Row], padding: PaddingSide) -> tuple[TokenIds, TokenRoles]:
        length = max(len(row.ids) for row in rows)
        ids = torch.full((len(rows), length), self.pad_id, dtype=torch.int64)
        roles = torch.full((len(rows), length), TokenRole.PADDING, dtype=torch.int8)
        for number, row in enumerate(rows):
            span = slice(0, len(row.ids)) if padding == "right" else slice(length - len(row.ids), length)
            ids[number, span] = torch.tensor(row.ids, dtype=torch.int64)
            roles[number, span] = torch.tensor(row.roles, dtype=torch.int8)
        return ids, roles


def check_proportions(image: Image.Image, name: str) -> None:
    """Refuse a picture that is too long for its width to be shown to the model.

    Args:
        name: What messages call it.

    Raises:
        UserError: If it is.
    """
    long, short = max(image.size), min(image.size)
    if long > MOST_STRETCHED * short:
        raise UserError(
            f"{name} has {image.width} x {image.height} pixels; the vision-language model takes pictures at most "
            f"{MOST_STRETCHED} times as long as wide",
            "cut it",
        )
