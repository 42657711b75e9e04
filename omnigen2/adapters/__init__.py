"""LoRA adapters: in the transformer, and in the files of many programs."""

from omnigen2.adapters.file import AdapterLayout, Pair, read_lora, write_lora
from omnigen2.adapters.lora import (
    ATTENTION,
    TARGETS,
    LoRA,
    adapter_state,
    adapters_disabled,
    add_lora,
    fitting_lora,
    is_adapter,
    load_adapter_state,
    load_lora,
    merge_lora,
    merged,
    save_lora,
)
from omnigen2.adapters.names import WRAPPERS
from omnigen2.adapters.scaled import ScaledAdapter

__all__ = [
    "ATTENTION", "TARGETS", "WRAPPERS", "AdapterLayout", "LoRA", "Pair", "ScaledAdapter", "adapter_state",
    "adapters_disabled", "add_lora", "fitting_lora", "is_adapter", "load_adapter_state", "load_lora", "merge_lora",
    "merged", "read_lora", "save_lora", "write_lora",
]  # fmt: skip
