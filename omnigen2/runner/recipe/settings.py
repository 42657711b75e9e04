"""What the layers and options of a recipe come to, for messages about a part of it that the parser refuses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from omnigen2.files import StrictLoader
from omnigen2.runner.recipe.layers import merged
from omnigen2.runner.recipe.recipe import Document, read_yaml
from omnigen2.runner.recipe.where import ANY

SPECIAL = ("class_path", "init_args", "dict_kwargs")
"""The keys beside a class."""


def document_of(arguments: Sequence[str], files: Sequence[Path] = (), under: Document | None = None) -> Document:
    """All arguments of the parser (see `layers.py:arguments`) in one document, with references as they are written.

    Args:
        arguments: `--config=…` for a layer and `--key=value` for an option, the most important one last.
        files: The files among the layers.
        under: What they are laid over.
    """
    document = under or {}
    for word in arguments:
        if word.startswith("--config="):
            text = word.removeprefix("--config=")
            layer = read_yaml(Path(text)) if text in map(str, files) else _value(text)
            document = merged([document, layer]) if isinstance(layer, dict) else document
        else:
            key, _, value = word.removeprefix("--").partition("=")
            document = _set(document, key.rstrip("+").split("."), _value(value), more=key.endswith("+"))
    return document


def resolved(document: Document) -> Document:
    """The same with the values that references lead to, if all of them lead to any."""
    try:
        found: Any = OmegaConf.to_container(OmegaConf.create(document), resolve=True)
    except Exception:  # whatever omegaconf and its resolvers may raise
        return document
    return found


def value_at(document: Any, dotted: str) -> Any:
    """What stands under dotted names, such as `trainer.callbacks[0].monitor`; `ANY` if nothing does."""
    for name in dotted.replace("[", ".").replace("]", "").split("."):
        if isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        elif isinstance(document, dict) and name in document:
            document = document[name]
        else:
            return ANY
    return document


def _value(text: str) -> Any:
    try:
        return text and yaml.load(text, Loader=StrictLoader)  # noqa: S506 (a SafeLoader)
    except yaml.YAMLError:
        return text


def _set(node: Any, parts: Sequence[str], value: Any, more: bool) -> Any:
    if not parts:
        return [*(node if isinstance(node, list) else []), value] if more else value
    if isinstance(node, list):  # an option behind a list changes its last part
        return [*node[:-1], _set(node[-1] if node else {}, parts, value, more)]
    node = {"class_path": node} if isinstance(node, str) else node if isinstance(node, dict) else {}
    if "class_path" in node and parts[0] not in SPECIAL:
        parts = ["init_args", *parts]
    return merged([node, {parts[0]: _set(node.get(parts[0]), parts[1:], value, more)}])
