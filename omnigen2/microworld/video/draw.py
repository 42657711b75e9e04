"""A moment becomes pixels: the world drawn as a camera sees it, on uneven ground, in its light."""

from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, UInt8

from omnigen2.microworld.video.footage import Camera, DrawnVideo, Moment
from omnigen2.microworld.world import Scene, Window, draw
from omnigen2.pictures import to_levels

GROUND_CELLS, GROUND_PERIOD = 10, 5
"""Spots of the ground along a unit of the world, and after how many units they come again."""
Shares: TypeAlias = Float[np.ndarray, "size spots"]
REACH = 2.0
"""No shape reaches farther from its centre, in radii."""


def draw_moment(video: DrawnVideo, moment: Moment) -> UInt8[np.ndarray, "size size 3"]:
    """The frame of a moment."""
    canvas = draw_view(moment.scene, moment.camera, video.footage.size, (video.seed, moment.shot), video.footage.ground)
    lit = (canvas + 1) * moment.light - 1
    return to_levels(torch.from_numpy(lit).permute(2, 0, 1)).numpy()


def draw_view(
    scene: Scene, camera: Camera, size: int, ground_seed: tuple[int, int] = (0, 0), ground: float = 0.0
) -> Float[np.ndarray, "size size 3"]:
    """What a camera sees of a scene; on flat ground and from the first camera, what `draw` draws.

    Args:
        scene: What there is; its background goes on beyond the unit square.
        camera: What is seen.
        size: Side in pixels.
        ground_seed: Which ground.
        ground: How strong it is.

    Returns:
        In [-1 - ground, 1 + ground], channels last.
    """
    pixels = (np.arange(size) + 0.5) / size
    rows, columns = (camera.side * (pixels - 0.5) + centre for centre in (camera.row, camera.column))
    tile = draw(Scene((), scene.background), size).double().numpy().transpose(1, 2, 0)
    places = [(line % 1 * size).astype(int) % size for line in (rows, columns)]
    canvas = tile[places[0]][:, places[1]]
    if ground:
        canvas = canvas + ground * _ground(ground_seed, rows, columns)
    for item in scene.items:
        scale = item.radius / camera.side * size
        centre = tuple(
            ((at - middle) / camera.side + 0.5) * size
            for at, middle in ((item.row, camera.row), (item.column, camera.column))
        )
        borders = [(max(0, int(c - REACH * scale) - 1), min(size, int(c + REACH * scale) + 2)) for c in centre]
        if all(start < stop for start, stop in borders):
            window = Window(slice(*borders[0]), slice(*borders[1]), (centre[0], centre[1]), scale)
            canvas[window.rows, window.columns] = window.paint(item, canvas[window.rows, window.columns])
    return canvas


def _ground(
    seed: tuple[int, int], rows: Float[np.ndarray, " size"], columns: Float[np.ndarray, " size"]
) -> Float[np.ndarray, "size size 3"]:
    """Random colours in [-1, 1] on a lattice, and what lies between them, at some places of the world."""
    spots = _spots(seed)
    (top, below), (left, right) = _ramp(rows), _ramp(columns)
    return np.einsum("ri,ijc,kj->rkc", top + below, spots, left + right, optimize=True)


def _ramp(
    places: Float[np.ndarray, " size"],
) -> tuple[Shares, Shares]:
    """How much each place takes from the spot before it, and from the one after."""
    at = places * GROUND_CELLS
    before = np.floor(at).astype(int)
    share = (at - before)[:, None]
    count = GROUND_CELLS * GROUND_PERIOD
    one = np.eye(count)
    return one[before % count] * (1 - share), one[(before + 1) % count] * share


@lru_cache(maxsize=16)
def _spots(seed: tuple[int, int]) -> Float[np.ndarray, "spots spots 3"]:
    count = GROUND_CELLS * GROUND_PERIOD
    return np.random.default_rng(seed).uniform(-1, 1, (count, count, 3))
