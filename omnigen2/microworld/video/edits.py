"""What an instruction would say that leads from one scene to another, where one edit is all that lies between them."""

import math
from dataclasses import replace

from omnigen2.microworld.tasks import EditKind, EditTask
from omnigen2.microworld.video.footage import Camera, Moment
from omnigen2.microworld.world import TEMPLATES, Item, Scene, describe

STILL = 0.03
"""An item has stayed if its centre has moved by less than this share of the side."""
SAME_RADIUS = 0.25
"""… and its radius by less than this share of itself."""


def edits_between(source: Scene, target: Scene) -> tuple[EditTask, ...]:
    """Every edit, in the words of the world's edit tasks, that makes one scene of another.

    Args:
        source: As it is, or as `read` has found it.
        target: Likewise; small differences of places and sizes count for nothing.

    Returns:
        One task for each wording of the instruction; none where nothing happened, or more than one edit can say.
    """
    if source.background != target.background:
        return ()
    left, kept = list(source.items), list[Item]()
    new: list[Item] = []
    for item in target.items:
        same = next((old for old in left if _stayed(old, item)), None)
        if same is None:
            new.append(item)
        else:
            left.remove(same)
            kept.append(same)
    if len(left) > 1 or len(new) > 1 or not left + new:
        return ()
    told = _told(left[0] if left else None, new[0] if new else None)
    if told is None or (left and sum(_kind(item) == _kind(left[0]) for item in source.items) > 1):
        return ()
    kind, words = told
    changed = replace(target, items=(*kept, *new))
    return tuple(EditTask(kind, text.format(**words), source, changed) for text in TEMPLATES[kind])


def true_edits(first: Moment, second: Moment) -> tuple[EditTask, ...]:
    """Every edit that leads from one moment of a video to another; none if the camera moved or the shot changed."""
    if first.shot != second.shot or any(moment.camera != Camera() for moment in (first, second)):
        return ()
    return edits_between(first.scene, second.scene)


def _told(old: Item | None, new: Item | None) -> tuple[EditKind, dict[str, str]] | None:
    """Which edit makes one item of another, and what its templates are filled with."""
    if old is None or new is None:
        if new is not None:
            return "add", {"object": _name(new, "a"), "place": new.place}
        return None if old is None else ("remove", {"object": _name(old)})
    words = {"object": _name(old)}
    if (old.shape, old.texture) == (new.shape, new.texture) and _near(old, new):
        return "recolour", {**words, "colour": new.colour}
    if _kind(old) == _kind(new):
        return None if old.place == new.place else ("move", {**words, "place": new.place})
    return ("replace", {**words, "other": _name(new, "a")}) if old.place == new.place else None


def _stayed(old: Item, item: Item) -> bool:
    return _kind(old) == _kind(item) and _near(old, item)


def _near(old: Item, item: Item) -> bool:
    still = math.hypot(old.row - item.row, old.column - item.column) < STILL
    return still and abs(item.radius / old.radius - 1) < SAME_RADIUS


def _kind(item: Item) -> tuple[str, str, str]:
    return item.shape, item.colour, item.texture


def _name(item: Item, first: str = "the") -> str:
    return describe(item.shape, item.colour, item.texture, first=first)
