"""What tests with several processes share."""

from collections.abc import Iterator

import pytest

from tests.training.rank_parts import Launcher


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path_factory.mktemp("pair"))
    yield launcher
    launcher.close()
