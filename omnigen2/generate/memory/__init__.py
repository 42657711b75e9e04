"""What drawing needs of a machine's memory, and how it needs less."""

from omnigen2.generate.memory.asked import RoomError
from omnigen2.generate.memory.estimate import Estimate, Need, codec_size, estimate, transformer_config, weights_of
from omnigen2.generate.memory.machine import free_memory
from omnigen2.generate.memory.placement import Placement, default_dtype
from omnigen2.generate.memory.resting import Offload, Resting
from omnigen2.generate.memory.room import Way, check_room

__all__ = [
    "Estimate", "Need", "Offload", "Placement", "Resting", "RoomError", "Way", "check_room", "codec_size",
    "default_dtype", "estimate", "free_memory", "transformer_config", "weights_of",
]  # fmt: skip
