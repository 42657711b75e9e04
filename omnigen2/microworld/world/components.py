"""Connected regions of equal labels in a small picture, without any library for it."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Int

Labels: TypeAlias = Int[np.ndarray, "height width"]
Box: TypeAlias = tuple[int, int, int, int]
"""First row, first column, last row, last column."""


@dataclass(frozen=True, slots=True)
class Component:
    """One connected region: what all its pixels have in common, how many, and its number in the map, from 1."""

    label: int
    area: int
    number: int


def components(labels: Labels, smallest: int) -> tuple[tuple[Component, ...], Labels]:
    """Find the 4-connected regions of equal labels.

    Args:
        labels: 0 or more where a region may be, negative where none is.
        smallest: Regions of fewer pixels are dropped.

    Returns:
        The regions in reading order of their first pixels, and a map that has a region's number at its pixels and 0
        elsewhere.
    """
    height, width = labels.shape
    flat = labels.ravel()
    cut = np.ones(flat.size, dtype=bool)
    cut[1:] = (flat[1:] != flat[:-1]) | (np.arange(1, flat.size) % width == 0)
    starts = np.flatnonzero(cut)
    run_of = np.cumsum(cut) - 1
    roots = _joined(run_of.reshape(height, width), labels, len(starts))
    lengths = np.diff(np.append(starts, flat.size))
    areas = np.bincount(roots, weights=lengths, minlength=len(starts)).astype(int)
    keep = np.flatnonzero((areas >= smallest) & (flat[starts] >= 0) & (roots == np.arange(len(starts))))
    numbers = np.zeros(len(starts), dtype=int)
    numbers[keep] = np.arange(1, len(keep) + 1)
    found = tuple(Component(int(flat[starts[k]]), int(areas[k]), n) for n, k in enumerate(keep, 1))
    return found, numbers[roots][run_of].reshape(height, width)


def box(mask: Bool[np.ndarray, "height width"]) -> Box:
    """The smallest box around the true pixels of a mask."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1])


def _joined(run_of: Labels, labels: Labels, count: int) -> Int[np.ndarray, " runs"]:
    """For each horizontal run, the first run of its region."""
    touching = (labels[1:] == labels[:-1]) & (labels[1:] >= 0)
    pairs = np.unique(run_of[:-1][touching] * count + run_of[1:][touching])
    parents = list(range(count))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    for pair in pairs.tolist():
        a, b = root(pair // count), root(pair % count)
        parents[max(a, b)] = min(a, b)
    return np.array([root(run) for run in range(count)], dtype=int)
