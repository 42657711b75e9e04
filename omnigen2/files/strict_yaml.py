"""YAML as people mean it: what recipes and data specs are read with. Needs PyYAML only."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from typing_extensions import override
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.reader import ReaderError
from yaml.scanner import ScannerError

from omnigen2.errors import UserError

DEEPEST = 60
"""Lists and mappings that may lie in one another; recipes have about ten."""
LARGEST = 100_000
"""Values that a document with aliases may have once each alias is replaced by what it stands for."""
UNMADE = (ValueError, TypeError, AttributeError, LookupError, OverflowError)
"""What PyYAML raises where a value looks like a date or a number and is none."""


class StrictLoader(yaml.SafeLoader):
    """YAML 1.1 with cures.

    `1e-3` is a number. Errors that say where they are, each a `yaml.MarkedYAMLError`: keys that stand twice or are no
    text, dates and numbers that do not exist, characters that cannot be seen, values that contain themselves, and
    documents that are nested too deeply or grow too large when their aliases are replaced.
    """

    def __init__(self, stream: Any) -> None:
        self._depth = 0
        self._sizes: dict[int, tuple[yaml.Node, int]] = {}
        """Of each whole node, by its identity, which lasts as long as the node is kept."""
        super().__init__(stream)

    @override
    def check_printable(self, data: Any) -> None:
        try:
            super().check_printable(data)
        except ReaderError as error:
            before = str(data)[: error.position]
            mark = yaml.Mark("", error.position, before.count("\n"), len(before.rpartition("\n")[2]), None, 0)
            code = f"U+{ord(str(data)[error.position]):04X}"
            raise ScannerError(None, None, f"the character {code} cannot stand in YAML", mark) from None

    @override
    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        mark = self.peek_event().start_mark
        alias = self.check_event(yaml.AliasEvent)
        self._depth += 1
        if self._depth > DEEPEST:
            raise ComposerError(None, None, f"nested deeper than {DEEPEST} levels", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        if id(node) not in self._sizes:
            if alias:
                raise ComposerError(None, None, "a value that contains itself", mark)
            self._sizes[id(node)] = node, 1 + sum(self._sizes[id(inner)][1] for inner in _inside(node))
        if self.anchors and self._sizes[id(node)][1] > LARGEST:
            raise ComposerError(None, None, f"more than {LARGEST} values, by its aliases", mark)
        return node

    @override
    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except UNMADE as error:
            kind, value = node.tag.rpartition(":")[2], str(node.value)[:40]
            problem = f"{value!r} is no {kind}, though it looks like one ({error}); write it in quotes if it is a text"
            raise ConstructorError(None, None, problem, node.start_mark) from error

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                shown = f"{key.value!r} ({key.tag.rpartition(':')[2]})" if isinstance(key.value, str) else "a list"
                problem = f"the key {shown} is no text; write it in quotes"
                raise ConstructorError(None, None, problem, key.start_mark)
            if key.value in seen:
                raise ConstructorError(None, None, f"the key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: Path, error: type[UserError] = UserError) -> Any:
    """Read a file of YAML with one document; None if it is empty.

    Args:
        error: What is raised.

    Raises:
        UserError: If there is no such file, or it is no UTF-8 or no YAML; it is named with file and line.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8-sig"), StrictLoader)  # noqa: S506 (a SafeLoader)
    except FileNotFoundError as missing:
        raise error(f"there is no file {path}", "check the path") from missing
    except OSError as reason:
        raise error(f"{path} cannot be read ({reason.strerror})", "expected a YAML file") from reason
    except UnicodeDecodeError as wrong:
        raise error(f"{path} is no UTF-8 ({wrong.reason} at byte {wrong.start + 1})", "convert the file") from wrong
    except yaml.MarkedYAMLError as wrong:
        line = f", line {wrong.problem_mark.line + 1}" if wrong.problem_mark else ""
        raise error(f"{path}{line} is no valid YAML: {wrong.problem or wrong}", "mend the line") from wrong


def _inside(node: yaml.Node) -> list[yaml.Node]:
    """What a list or a mapping holds: keys and values alike."""
    match node:
        case yaml.SequenceNode():
            return list(node.value)
        case yaml.MappingNode():
            return [part for pair in node.value for part in pair]
        case _:
            return []
