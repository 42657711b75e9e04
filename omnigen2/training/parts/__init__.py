"""What recipes of trainings are made of: optimizers, schedules, models to start from, sharding, loaders, chance."""

from omnigen2.training.parts.activations import activation_bytes, frozen_bytes
from omnigen2.training.parts.codecs import DCT, CodecFolder, CodecSource
from omnigen2.training.parts.companion import companion_example, with_companion
from omnigen2.training.parts.loader import StepLoader
from omnigen2.training.parts.model_folder import Saved, save_plain_transformer, save_rest
from omnigen2.training.parts.optimizers import AdamWRecipe, MuonAdamW, OptimizerRecipe
from omnigen2.training.parts.parallel import shard_transformer
from omnigen2.training.parts.precision import check_precision
from omnigen2.training.parts.schedules import (
    LearningRate,
    WarmupConstant,
    WarmupCosine,
    WarmupLinearDecay,
    lambda_lr,
    scheduled,
)
from omnigen2.training.parts.streams import Stream
from omnigen2.training.parts.text_limits import limit_of_drawings, limit_of_exchanges
from omnigen2.training.parts.transformer_part import ADAPTER, TransformerPart, adapted_layers
from omnigen2.training.parts.vlm import (
    EVERY_TOKEN,
    MLLM,
    PROCESSOR,
    Precision,
    VLMFolder,
    VLMSource,
    check_plain,
    save_vlm,
    vlm_identity,
    vlm_source,
    without_bars,
)

__all__ = [
    "ADAPTER", "DCT", "EVERY_TOKEN", "MLLM", "PROCESSOR", "AdamWRecipe", "CodecFolder", "CodecSource", "LearningRate",
    "MuonAdamW", "OptimizerRecipe", "Precision", "Saved", "StepLoader", "Stream", "TransformerPart", "VLMFolder",
    "VLMSource", "WarmupConstant", "WarmupCosine", "WarmupLinearDecay", "activation_bytes", "adapted_layers",
    "check_plain", "check_precision", "companion_example", "frozen_bytes", "lambda_lr", "limit_of_drawings",
    "limit_of_exchanges", "save_plain_transformer", "save_rest", "save_vlm", "scheduled", "shard_transformer",
    "vlm_identity", "vlm_source", "with_companion", "without_bars",
]  # fmt: skip
