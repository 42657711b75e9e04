import ast
import sys
from pathlib import Path

import omnigen2.flow as flow

ALLOWED = {*sys.stdlib_module_names, "torch", "jaxtyping", "typing_extensions"}


def test_flow_imports_torch_and_itself_alone() -> None:
    for file in Path(flow.__file__).parent.glob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text())))
        modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        modules += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        for module in modules:
            assert module.startswith("omnigen2.flow") or module.split(".")[0] in ALLOWED, (file.name, module)
