"""The seed of the fuzzer, and the one case that is wanted of it."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz_seed", type=int, default=0, help="what all generated files depend on")
    parser.addoption("--fuzz_case", default="", help="kind:number, to run one case alone; its error is then raised")
    parser.addoption("--fuzz_count", type=int, default=0, help="cases of each kind, to try fewer than all")
