"""What reports of users are tried in: a shell in a folder of its own, and all models that libraries load for us."""

import shutil
from pathlib import Path

import pytest

from tests.commands.conftest import shell

__all__ = ["models", "originals", "shell"]


@pytest.fixture(scope="session")
def originals(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.reports.parts import write_models

    folder = tmp_path_factory.mktemp("originals")
    write_models(model, folder)
    return folder


@pytest.fixture
def models(originals: Path, tmp_path: Path) -> Path:
    return shutil.copytree(originals, tmp_path / "model")
