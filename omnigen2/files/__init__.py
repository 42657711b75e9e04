"""Files that every room reads and writes: JSON lines, strict YAML, tables, weights; whole or not at all."""

from omnigen2.files.json_lines import BadLine, JsonLine, drop_half_line, each_json_line, read_json_lines
from omnigen2.files.safetensors import read_weights, save_tensors
from omnigen2.files.strict_yaml import StrictLoader
from omnigen2.files.tables import markdown_table, number, spread
from omnigen2.files.text import read_json, write_bytes, write_json, write_text, written_beside

__all__ = [
    "BadLine", "JsonLine", "StrictLoader", "drop_half_line", "each_json_line", "markdown_table", "number", "read_json",
    "read_json_lines", "read_weights", "save_tensors", "spread", "write_bytes", "write_json", "write_text",
    "written_beside",
]  # fmt: skip
