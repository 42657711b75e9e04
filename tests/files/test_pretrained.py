"""What a library says while it loads."""

import logging

import pytest
import torch

from omnigen2.files import WeightsError, library_errors


@pytest.mark.parametrize("name", ["transformers.models.clip", "diffusers"])
def test_what_a_library_warns_of_is_an_error(name: str) -> None:
    logger = logging.getLogger(name.partition(".")[0])
    before = logger.handlers, logger.level, logger.propagate
    with pytest.raises(WeightsError, match=r"model was loaded with a warning \(weights were made up\)"):  # noqa: SIM117
        with library_errors("model"):
            logging.getLogger(name).warning("weights were %s", "made up")
    assert (logger.handlers, logger.level, logger.propagate) == before
    with library_errors("model"):
        logging.getLogger(name).info("loading")


def test_what_a_library_raises_is_told_with_the_folder() -> None:
    with pytest.raises(WeightsError, match=r"model cannot be loaded \(KeyError\)"), library_errors("model"):
        raise KeyError
    with pytest.raises(torch.OutOfMemoryError), library_errors("model"):
        raise torch.OutOfMemoryError
