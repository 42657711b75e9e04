"""Which frames of a scene are looked at together."""

from collections.abc import Sequence

from omnigen2.errors import UserError

GAPS = (0.5, 1.0, 2.0)
"""Seconds."""


def frame_pairs(
    start: float, end: float, gaps: Sequence[float] = GAPS, most: int = 6, margin: float = 0.1
) -> tuple[tuple[float, float], ...]:
    """Pairs of times in a scene, apart by each of some gaps as often, evenly over the scene.

    Args:
        start: Of the scene, in seconds.
        end: Of the scene; not part of it.
        gaps: Between the two frames of a pair, in seconds; those that are too long for the scene give none.
        most: Pairs of a scene.
        margin: Seconds at both ends of the scene that are left out: what fades in, and what a cut that is off by a
            frame would let in.

    Returns:
        In the order of their times; fewer than `most` if the gaps do not divide it.

    Raises:
        UserError: If a gap or the number of pairs is not positive, or the margin is negative.
    """
    if any(gap <= 0 for gap in gaps) or most < 1 or margin < 0:
        raise UserError(f"got gaps {tuple(gaps)}, at most {most} pairs, a margin of {margin}", "give numbers above 0")
    first, last = start + margin, end - margin
    fitting = [gap for gap in dict.fromkeys(gaps) if first + gap < last]
    found: set[tuple[float, float]] = set()
    for gap in fitting[:most]:
        count = max(1, most // len(fitting))
        step = (last - gap - first) / count
        found |= {(first + step * (number + 0.5), first + step * (number + 0.5) + gap) for number in range(count)}
    return tuple(sorted(found))
