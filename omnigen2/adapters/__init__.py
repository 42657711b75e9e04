"""TODO."""

from omnigen2.adapters.loading import load_lora, merge_lora
from omnigen2.adapters.lora import LoRA, adapters_disabled, add_lora, is_adapter, merged, save_lora

__all__ = ["LoRA", "adapters_disabled", "add_lora", "is_adapter", "load_lora", "merge_lora", "merged", "save_lora"]
