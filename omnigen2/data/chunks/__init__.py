"""How samples are stored: litdata chunks of whole records, checked when they are written and when they are read."""

from omnigen2.data.chunks.sizes import CHECKED, FORMAT, KINDS, SIZES_FILE, SizeTable
from omnigen2.data.chunks.streaming import StreamingSource
from omnigen2.data.chunks.writer import ChunkWriter

__all__ = ["CHECKED", "FORMAT", "KINDS", "SIZES_FILE", "ChunkWriter", "SizeTable", "StreamingSource"]
