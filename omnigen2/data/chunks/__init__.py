"""TODO."""

from omnigen2.data.chunks.streaming import StreamingSource
from omnigen2.data.chunks.writer import ChunkWriter

__all__ = ["ChunkWriter", "StreamingSource"]
