"""YAML as people mean it: what recipes and data specs are read with. Needs PyYAML only."""

import re
from collections.abc import Hashable
from typing import Any

import yaml
from typing_extensions import override


class StrictLoader(yaml.SafeLoader):
    """YAML 1.1 with two cures: `1e-3` is a number, and a key that stands twice is an error."""

    @override
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789")
)
