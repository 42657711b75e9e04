"""What turns words and pictures into what the transformer reads, and back: VLM, bridge, autoencoder, images.

Importing this needs torch, numpy and Pillow; transformers and diffusers are imported when a model is loaded.
"""

from omnigen2.encoders.bridge import HiddenStateBridge, PackedText, TokenRole, token_roles
from omnigen2.encoders.chat import (
    IMAGE_TOKEN,
    SYSTEM_PROMPT,
    SYSTEM_PROMPT_DROPPED,
    SYSTEM_PROMPT_PLAIN,
    Conversation,
    Message,
    drawing,
)
from omnigen2.encoders.codec import LatentCodec
from omnigen2.encoders.dct import BlockDCT
from omnigen2.encoders.image_token import ImageToken
from omnigen2.encoders.images import ImageFileError, ImageReader, ResizePolicy, to_image, to_pixels
from omnigen2.encoders.qwen import Answer, QwenEncoder, load_tokenizer
from omnigen2.encoders.tokens import ChatTokenizer, PromptBatch, PromptRules
from omnigen2.encoders.vae import FluxVAE, load_codec

__all__ = [
    "IMAGE_TOKEN",
    "SYSTEM_PROMPT",
    "SYSTEM_PROMPT_DROPPED",
    "SYSTEM_PROMPT_PLAIN",
    "Answer",
    "BlockDCT",
    "ChatTokenizer",
    "Conversation",
    "FluxVAE",
    "HiddenStateBridge",
    "ImageFileError",
    "ImageReader",
    "ImageToken",
    "LatentCodec",
    "Message",
    "PackedText",
    "PromptBatch",
    "PromptRules",
    "QwenEncoder",
    "ResizePolicy",
    "TokenRole",
    "drawing",
    "load_codec",
    "load_tokenizer",
    "to_image",
    "to_pixels",
    "token_roles",
]
