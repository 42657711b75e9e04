"""TODO."""

from omnigen2.files.safetensors import read_weights
from omnigen2.files.strict_yaml import StrictLoader
from omnigen2.files.tables import markdown_table, spread
from omnigen2.files.text import read_json, write_json, write_text

__all__ = ["StrictLoader", "markdown_table", "read_json", "read_weights", "spread", "write_json", "write_text"]
