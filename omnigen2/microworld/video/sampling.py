"""A video from a seed: shots, what their objects do, how the camera moves, and what is between them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from omnigen2.microworld.video.footage import Camera, ChangeKind, Cut, DrawnVideo, Footage, Moment, vocabulary_named
from omnigen2.microworld.world import (
    QUARTERS,
    Item,
    Place,
    Scene,
    Vocabulary,
    choose,
    colours_on,
    pairs_on,
    put,
    sample_scene,
)

MOVE_SECONDS = 0.4
FADE_SECONDS = (0.3, 0.5)
"""How long the light takes to go, and again to come back."""
PAN, ZOOM = (0.15, 0.6), (0.6, 1.6)
"""How far a camera pans in a shot, in sides of the view, and what its view's side becomes."""
FLASH_LIGHT, FLASH_FRAMES = 6.0, 3
NEIGHBOURS: dict[Place, tuple[Place, Place]] = {
    "top left": ("top right", "bottom left"),
    "top right": ("top left", "bottom right"),
    "bottom left": ("top left", "bottom right"),
    "bottom right": ("top right", "bottom left"),
}
"""Where an object can move to without passing through a third quarter."""

Cast = dict[int, Item]
"""Objects by their numbers."""


@dataclass
class Shot:
    """What is seen in each frame of one shot."""

    background: Scene
    casts: list[Cast]
    cameras: list[Camera]
    lights: list[float]

    def moment(self, time: float, number: int, frame: int) -> Moment:
        """One of its frames, as part of a video."""
        cast = self.casts[frame]
        scene = replace(self.background, items=tuple(cast.values()))
        return Moment(time, number, scene, tuple(cast), self.cameras[frame], self.lights[frame])


def sample_video(seed: int, footage: Footage | None = None, vocabulary: Vocabulary | None = None) -> DrawnVideo:
    """A random video; the same seed, footage and vocabulary give the same one.

    Args:
        seed: At least 0.
        footage: How it is drawn.
        vocabulary: Of its scenes; by default the footage's own.
    """
    footage = footage or Footage()
    known = vocabulary or vocabulary_named(footage.vocabulary, footage.size)
    rng = np.random.default_rng(seed)
    shots: list[Shot] = []
    for _ in range(int(rng.integers(footage.shots[0], footage.shots[1] + 1))):
        previous = shots[-1].background.background if shots else None
        shots.append(_sample_shot(footage, _other_backgrounds(known, previous), rng))
    borders = np.cumsum([0, *(len(shot.casts) for shot in shots)]).tolist()
    steps = rng.integers(1, 4, borders[-1]) if footage.uneven else np.ones(borders[-1], dtype=int)
    times = [float(step) for step in np.cumsum([0, *steps]) / footage.rate]
    cuts: list[Cut] = []
    for before, after, border in zip(shots, shots[1:], borders[1:], strict=False):
        first, last = _fade(before, after, footage, rng) if rng.random() < footage.fades else (0, 0)
        cuts.append(Cut(times[border - first], times[border + last]))
    moments = (
        shot.moment(times[border + frame], number, frame)
        for number, (shot, border) in enumerate(zip(shots, borders, strict=False))
        for frame in range(len(shot.casts))
    )
    return DrawnVideo(seed, footage, tuple(moments), tuple(cuts), times[-1])


def _other_backgrounds(vocabulary: Vocabulary, previous: object) -> Vocabulary:
    """The vocabulary without the background of the shot before, where there are others."""
    others = tuple(one for one in vocabulary.backgrounds if one != previous)
    return replace(vocabulary, backgrounds=others or vocabulary.backgrounds)


def _sample_shot(footage: Footage, vocabulary: Vocabulary, rng: np.random.Generator) -> Shot:
    length = round(float(rng.uniform(*footage.seconds)) * footage.rate)
    scene = sample_scene(vocabulary, rng, count=int(rng.integers(1, 4)), cells="quarters")
    casts = list(_act(scene, length, footage, vocabulary, rng))
    cameras = _move_camera(length, rng) if rng.random() < footage.moving else [Camera()] * length
    lights = (1 + footage.flicker * rng.uniform(-1, 1, length)).tolist()
    if rng.random() < footage.flashes:
        start = int(rng.integers(length // 4, length // 2))
        for frame in range(start, start + int(rng.integers(1, FLASH_FRAMES + 1))):
            lights[frame] = FLASH_LIGHT
    return Shot(replace(scene, items=()), casts, cameras, lights)


def _act(
    scene: Scene, length: int, footage: Footage, vocabulary: Vocabulary, rng: np.random.Generator
) -> Iterator[Cast]:
    """The objects in each frame: changes come one at a time, each in a part of the shot of its own."""
    cast: Cast = dict(enumerate(scene.items))
    count = int(rng.integers(footage.changes + 1))
    newcomer = len(cast)
    moving = round(MOVE_SECONDS * footage.rate)
    borders = np.linspace(0, length, count + 1).astype(int).tolist()
    if not count:
        yield from [cast] * length
        return
    for start, end in zip(borders, borders[1:], strict=False):
        at = start + int(rng.integers(1, max(2, end - start - moving)))
        yield from [cast] * (at - start)
        old, cast = cast, _change(cast, scene, newcomer, vocabulary, rng)
        newcomer += newcomer in cast
        shares = np.minimum(1, np.arange(1, end - at + 1) / moving)
        yield from (_between(old, cast, float(share)) for share in shares)


def _between(old: Cast, new: Cast, share: float) -> Cast:
    """Objects on their way: those that are in both casts at another place have gone a share of it."""
    cast = dict(new)
    for actor in {*old, *new} & set(old) & set(new):
        a, b = old[actor], new[actor]
        row, column = (x + share * (y - x) if share < 1 else y for x, y in ((a.row, b.row), (a.column, b.column)))
        cast[actor] = replace(b, row=row, column=column)
    return cast


def _change(cast: Cast, scene: Scene, newcomer: int, vocabulary: Vocabulary, rng: np.random.Generator) -> Cast:
    """The objects after one random change that is possible."""
    taken = {item.place for item in cast.values()}
    free: list[Place] = [place for place in QUARTERS if place not in taken]
    ways: list[tuple[int, Place]] = [
        (actor, to) for actor, item in cast.items() for to in NEIGHBOURS[item.place] if to in free
    ]
    kinds: list[ChangeKind] = ["recoloured", *(["moved"] if ways else []), *(["appeared"] if free else [])]
    kind: ChangeKind = choose([*kinds, "vanished"] if len(cast) > 1 else kinds, rng)
    actor = choose(list(cast), rng)
    match kind:
        case "moved":
            actor, place = choose(ways, rng)
            top, left, _, _ = QUARTERS[place]
            old = cast[actor]
            return {**cast, actor: replace(old, row=old.row % 0.5 + top, column=old.column % 0.5 + left)}
        case "recoloured":
            old = cast[actor]
            used = {item.colour for item in cast.values() if item.shape == old.shape}
            colour = choose([one for one in colours_on(scene.background, vocabulary) if one not in used], rng)
            return {**cast, actor: replace(old, colour=colour)}
        case "appeared":
            shape, colour = choose(pairs_on(scene.background, vocabulary, cast.values()), rng)
            kind_of = (shape, colour, choose(vocabulary.textures_of(shape), rng))
            return {**cast, newcomer: put(kind_of, choose(vocabulary.sizes, rng), QUARTERS[choose(free, rng)], rng)}
        case "vanished":
            return {one: item for one, item in cast.items() if one != actor}


def _move_camera(length: int, rng: np.random.Generator) -> list[Camera]:
    """A pan or a zoom at an even pace over the whole shot."""
    if rng.random() < 0.5:
        angle, far = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(*PAN))
        to = Camera(0.5 + far * float(np.sin(angle)), 0.5 + far * float(np.cos(angle)))
    else:
        to = Camera(side=float(rng.uniform(ZOOM[0], 0.85) if rng.random() < 0.5 else rng.uniform(1.2, ZOOM[1])))
    mix = partial(np.linspace, num=length)
    views = zip(mix(0.5, to.row), mix(0.5, to.column), mix(1, to.side), strict=True)
    return [Camera(float(row), float(column), float(side)) for row, column, side in views]


def _fade(before: Shot, after: Shot, footage: Footage, rng: np.random.Generator) -> tuple[int, int]:
    """Take the light from the end of a shot and the start of the next; how many frames of each."""
    lengths = [round(float(rng.uniform(*FADE_SECONDS)) * footage.rate) for _ in range(2)]
    for shot, length, down in ((before, lengths[0], True), (after, lengths[1], False)):
        for step in range(length):
            frame = len(shot.lights) - 1 - step if down else step
            shot.lights[frame] *= step / length
    return lengths[0], lengths[1]
