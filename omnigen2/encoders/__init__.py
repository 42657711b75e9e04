"""What turns words and pictures into what the transformer reads, and back: VLM, bridge, autoencoder, images.

Importing this needs torch, numpy and Pillow; transformers and diffusers are imported when a model is loaded.
"""

from omnigen2.encoders.bridge import HiddenStateBridge, KeptTemplate, KeptTokens, PackedText, TokenRole, token_roles
from omnigen2.encoders.chat import (
    IMAGE_TOKEN,
    SYSTEM_PROMPT,
    SYSTEM_PROMPT_DROPPED,
    SYSTEM_PROMPT_PLAIN,
    Conversation,
    Message,
    drawing,
    render,
)
from omnigen2.encoders.codec import CodecSize, LatentCodec, Moments, draw
from omnigen2.encoders.configs import check_vlm_config
from omnigen2.encoders.dct import BlockDCT
from omnigen2.encoders.fingerprint import fingerprint
from omnigen2.encoders.folder import INSTRUCTIONS, check_folder, multiplies_bfloat16, processor_capabilities
from omnigen2.encoders.image_token import ImageToken, InitialRow
from omnigen2.encoders.qwen import HOTTEST, MOST_NEW_TOKENS, Answer, QwenEncoder, load_tokenizer
from omnigen2.encoders.tiny import (
    SPECIAL_TOKENS,
    random_vlm,
    write_image_processor,
    write_tiny_processor,
    write_tiny_vae,
    write_tiny_vlm,
)
from omnigen2.encoders.tokens import ChatTokenizer, PromptBatch, PromptRules, check_proportions
from omnigen2.encoders.vae import FluxVAE, VAEMemory, codec_class, load_codec

__all__ = [
    "HOTTEST", "IMAGE_TOKEN", "INSTRUCTIONS", "MOST_NEW_TOKENS", "SPECIAL_TOKENS", "SYSTEM_PROMPT",
    "SYSTEM_PROMPT_DROPPED", "SYSTEM_PROMPT_PLAIN", "Answer", "BlockDCT", "ChatTokenizer", "CodecSize", "Conversation",
    "FluxVAE", "HiddenStateBridge", "ImageToken", "InitialRow", "KeptTemplate", "KeptTokens", "LatentCodec", "Message",
    "Moments", "PackedText", "PromptBatch", "PromptRules", "QwenEncoder", "TokenRole", "VAEMemory",
    "check_folder", "check_proportions", "check_vlm_config", "codec_class", "draw", "drawing", "fingerprint",
    "load_codec", "load_tokenizer", "multiplies_bfloat16", "processor_capabilities", "random_vlm", "render",
    "token_roles", "write_image_processor", "write_tiny_processor", "write_tiny_vae", "write_tiny_vlm",
]  # fmt: skip
