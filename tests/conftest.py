"""Hypothesis profiles: `dev` is quick, `ci` is thorough, `deep` is for proofs on demand. Tests do not touch others."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import jaxtyping
import pytest
import torch
from hypothesis import HealthCheck, settings

import tests.typechecker  # noqa: F401  (named in the pytest options; must be loaded before the package is)

if TYPE_CHECKING:
    from omnigen2.generate import Generator

torch.set_num_threads(1)

slow_is_fine = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=15, **slow_is_fine)
settings.register_profile("ci", max_examples=32, derandomize=True, **slow_is_fine)
settings.register_profile("deep", max_examples=500, **slow_is_fine)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

# a shell starts what it puts into the background with Ctrl-C ignored, and tests of Ctrl-C would inherit that
if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: a minute's test that starts last leaves the other cores idle."""
    longest = ("readme", "ranks", "resume", "study")
    items.sort(key=lambda item: not any(word in item.path.stem for word in longest))


def pytest_runtest_setup() -> None:
    """Forget the seed that an earlier test left in the environment: strategies of several processes set it again."""
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        os.environ.pop(name, None)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from omnigen2.generate import make_tiny

    return make_tiny(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def generator(model: Path) -> "Generator":
    """Shared: tests that change a generator load their own."""
    from omnigen2.generate import Generator

    return Generator.from_folder(model)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six small pictures of different sizes."""
    from PIL import Image

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
