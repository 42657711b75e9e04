"""How samples are stored: litdata chunks of whole records, checked when they are written and when they are read."""

from omnigen2.data.chunks.streaming import StreamingSource
from omnigen2.data.chunks.writer import ChunkWriter

__all__ = ["ChunkWriter", "StreamingSource"]
