"""Chunks that lie far away: fetched whole into a bounded cache, checked, and read there."""

from omnigen2.data.remote.checksums import write_checksums
from omnigen2.data.remote.chunk_files import ChunkFiles, LocalFiles, chunk_files, is_remote, read_remote

__all__ = ["ChunkFiles", "LocalFiles", "chunk_files", "is_remote", "read_remote", "write_checksums"]
