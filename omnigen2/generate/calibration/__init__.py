"""TeaCache's polynomial of a model: fitted to its drawings, and kept in its folder."""

from omnigen2.generate.calibration.calibrate import PROMPTS, Watched, calibrate, check_enough
from omnigen2.generate.calibration.file import FILE, Calibration, identity, read_calibration, write_calibration

__all__ = [
    "FILE", "PROMPTS", "Calibration", "Watched", "calibrate", "check_enough", "identity", "read_calibration",
    "write_calibration",
]  # fmt: skip
