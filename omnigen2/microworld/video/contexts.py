"""What an in-context instruction would say of a frame whose subjects are given as pictures."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from omnigen2.microworld.tasks import stands
from omnigen2.microworld.video.footage import Moment
from omnigen2.microworld.world import RELATIONS, TEMPLATES, Background, Item, Scene, describe_background

WHOLE = 0.5
"""An item is seen if so much of its radius lies between its centre and the border: of a circle, four fifths."""
MOST_SUBJECTS = 2
"""No sentence of the world speaks of more pictures with a subject."""


@dataclass(frozen=True, slots=True)
class View:
    """What a camera sees of a scene, with places and radii as shares of the view.

    Attributes:
        scene: The items that are seen, as a whole or nearly.
        cut: Items of which the border leaves less.
    """

    scene: Scene
    cut: int


def view_of(moment: Moment) -> View:
    """A moment as its camera sees it."""
    camera = moment.camera
    whole: list[Item] = []
    cut = 0
    for item in moment.scene.items:
        row, column = (
            (at - middle) / camera.side + 0.5 for at, middle in ((item.row, camera.row), (item.column, camera.column))
        )
        radius = item.radius / camera.side
        inside = min(row, column, 1 - row, 1 - column) / radius
        if inside >= WHOLE and radius < 0.5:
            whole.append(replace(item, row=row, column=column, radius=radius))
        else:
            cut += inside > -1
    return View(replace(moment.scene, items=tuple(whole)), cut)


def contexts_of(subjects: Sequence[Item], background: Background, into_scene: bool = False) -> tuple[str, ...]:
    """Every in-context instruction, in the words of the world's tasks, that is true of a picture with some subjects.

    Args:
        subjects: As they are in the picture, in the order of the pictures in which they are given, one each.
        background: Of the picture.
        into_scene: Whether one more picture is given, after those: the same without its subjects.

    Returns:
        One for each wording and each relation that holds; none for no subjects, or more than the words can say.
    """
    if not 1 <= len(subjects) <= MOST_SUBJECTS:
        return ()
    both = len(subjects) == 2
    relations = [one for one in RELATIONS if both and stands(subjects[0], one, subjects[1])]
    roles = ["character" if item.texture == "face" else "object" for item in subjects]
    name = ("scene_both" if both else "scene") if into_scene else "multiple" if both else "single"
    said: list[str] = []
    for template, relation in product(TEMPLATES[name], relations if both else [None]):
        text = template
        for role in roles:
            text = text.replace("{role}", role, 1)
        where = {"place": subjects[0].place, "background": f"on {describe_background(background)}"}
        said.append(text.format(i=1, j=2, k=3, relation=relation, **where))
    return tuple(said)
