"""The matrices of a model's blocks in 8 or 4 bits: to draw with, and as the frozen base of adapters."""

from omnigen2.quantize.kinds import Quantization, check_quantization
from omnigen2.quantize.layers import inner_tensors, is_quantized, quantization_of, quantize, stored_bytes
from omnigen2.quantize.padded import PaddedLinear

__all__ = [
    "PaddedLinear", "Quantization", "check_quantization", "inner_tensors", "is_quantized", "quantization_of",
    "quantize", "stored_bytes",
]  # fmt: skip
