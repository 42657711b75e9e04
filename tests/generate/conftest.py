"""One tiny model folder for all tests of the package, and annotations unchecked where messages are tested."""

from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
from PIL import Image

from omnigen2.generate import Generator
from omnigen2.make_tiny import make_tiny


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def generator(model: Path) -> Generator:
    """Shared: tests that change a generator load their own."""
    return Generator.from_folder(model)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six small pictures of different sizes."""
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        Image.new("RGB", (50 + 16 * number, 40), (40 * number, 80, 200)).save(path)
    return paths


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Annotations are not checked, as outside the tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
