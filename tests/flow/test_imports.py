import ast
import sys
from pathlib import Path

import omnigen2.flow as flow

ALLOWED = {*sys.stdlib_module_names, "torch", "jaxtyping", "typing_extensions"}


def test_flow_imports_torch_and_itself_alone() -> None:
    for file in Path(flow.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            match node:
                case ast.Import(names=names):
                    modules = [alias.name for alias in names]
                case ast.ImportFrom(module=module):
                    modules = [module or ""]
                case _:
                    continue
            for module in modules:
                assert module.startswith("omnigen2.flow") or module.split(".")[0] in ALLOWED, (file.name, module)


def test_every_public_name_exists() -> None:
    assert sorted(set(flow.__all__)) == sorted(flow.__all__)
    assert all(hasattr(flow, name) for name in flow.__all__)
