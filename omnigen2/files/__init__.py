"""Files that every room reads and writes: JSON lines, strict YAML, tables, weights; whole or not at all.

Importing this needs torch and safetensors; PyYAML is imported when `StrictLoader` or `read_yaml` is asked for.
"""

from typing import TYPE_CHECKING, Any

from omnigen2.files.fields import Fields, object_in, object_of, read_object
from omnigen2.files.json_lines import BadLine, JsonLine, drop_half_line, each_json_item, each_json_line, read_json_lines
from omnigen2.files.limits import MOST_STEPS, check_most
from omnigen2.files.mapped import MappedFiles, Stamp
from omnigen2.files.names import Keys, inside, plain_name
from omnigen2.files.pretrained import check_config, library_errors, load_pretrained
from omnigen2.files.processors import CROPS, check_image_settings, check_tokenizer, image_settings
from omnigen2.files.safetensors import read_weights, save_tensors
from omnigen2.files.tables import markdown_table, number, spread
from omnigen2.files.text import read_json, write_bytes, write_json, write_text, written_beside
from omnigen2.files.weights import Stored, WeightsError, check_tensors, check_types, compare, read_header, weight_files

if TYPE_CHECKING:
    from omnigen2.files.strict_yaml import StrictLoader, read_yaml

__all__ = [
    "CROPS", "MOST_STEPS", "BadLine", "Fields", "JsonLine", "Keys", "MappedFiles", "Stamp", "Stored", "StrictLoader",
    "WeightsError", "check_config", "check_image_settings", "check_most", "check_tensors", "check_tokenizer",
    "check_types", "compare", "drop_half_line", "each_json_item", "each_json_line", "image_settings", "inside",
    "library_errors", "load_pretrained", "markdown_table", "number", "object_in", "object_of", "plain_name",
    "read_header", "read_json", "read_json_lines", "read_object", "read_weights", "read_yaml", "save_tensors", "spread",
    "weight_files", "write_bytes", "write_json", "write_text", "written_beside",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """What needs PyYAML, which rooms that only want JSON and weights do without.

    Raises:
        AttributeError: If another name is asked for.
    """
    if name not in ("StrictLoader", "read_yaml"):
        raise AttributeError(f"module {__name__} has no {name}")
    from omnigen2.files import strict_yaml

    return getattr(strict_yaml, name)
