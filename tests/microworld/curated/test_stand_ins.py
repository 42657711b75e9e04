"""Stand-ins see what is there, and are wrong as often as they are told to be."""

from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from omnigen2.curation import CurationError, Dropped, Frame, Item, OpenClip, Subject, through
from omnigen2.curation.steps import keep_mask
from omnigen2.microworld.curated import (
    MicroDetector,
    MicroEmbedder,
    MicroFiller,
    MicroJudge,
    MicroNames,
    MicroSameThing,
    MicroTracker,
    MicroWords,
)
from omnigen2.microworld.curated.sight import at_box, at_mask, mask_of, name_of, reading
from omnigen2.microworld.tasks import sample_context
from omnigen2.microworld.video import Camera, Footage, contexts_of, draw_moment, draw_view, sample_video, view_of
from omnigen2.microworld.world import Background, Scene, draw, full_vocabulary, sample_scene
from omnigen2.microworld.world import Item as Thing
from omnigen2.pictures import to_levels, to_png
from tests.microworld.worlds import generator, seeds

SIZE = 64
few = settings(max_examples=5)
STILL = Footage(shots=(1, 1), seconds=(0.8, 1.2), rate=10, moving=0.0, changes=1)


def shown(scene: Scene) -> np.ndarray:
    return to_levels(draw(scene, SIZE)).numpy()


def a_scene(seed: int, count: int | None = None) -> Scene:
    return sample_scene(full_vocabulary(SIZE), generator(seed), count, "quarters")


def kept(clip: OpenClip, scene: Scene, seconds: float) -> Frame:
    png = to_png(draw(scene, SIZE))
    return clip.keep(seconds, png, str(crc32(png)))


@few
@given(seeds)
def test_a_detector_finds_what_has_the_name_or_by_mistake_something_else(seed: int) -> None:
    scene = a_scene(seed)
    names = [name_of(thing) for thing in scene.items]
    for wrong in (0.0, 1.0):
        found = MicroDetector(wrong).find(shown(scene), names)
        things = [at_box(scene.items, one.box, SIZE) for one in found]
        right = [thing is not None and name_of(thing) == one.name for thing, one in zip(things, found, strict=True)]
        assert right == [not wrong] * (len(names) if not wrong or len(names) > 1 else 0)
    assert not MicroDetector().find(shown(Scene((), scene.background)), names)


@few
@given(seeds)
def test_a_tracker_stays_with_its_things_or_goes_over_to_another(seed: int) -> None:
    video = sample_video(seed, STILL)
    moments = video.moments[:: max(1, len(video.moments) // 3)]
    frames = [draw_moment(video, moment) for moment in moments]
    first = moments[0].scene.items
    boxes = [one.box for one in MicroDetector().find(frames[0], [name_of(thing) for thing in first])]
    for number, masks in enumerate(MicroTracker().track(iter(frames), boxes)):
        cast = moments[number].cast
        assert masks.shape == (len(first), SIZE, SIZE)
        for actor, mask in zip(moments[0].actors, masks, strict=True):
            there = cast.get(actor)
            assert (there is None and not mask.any()) or (there is not None and at_mask((there,), mask) == there)
    strays = list(MicroTracker(wrong=1.0).track(frames[:1] * 2, boxes))
    halves = next(iter(MicroTracker(cut=1.0).track(frames, boxes)))
    for number, thing in enumerate(first):
        assert at_mask(first, strays[0][number]) == thing
        assert at_mask(first, strays[1][number]) != thing or len(first) == 1
        assert 0.3 < halves[number].sum() / mask_of(thing, SIZE).sum() < 0.7


@few
@given(seeds, st.booleans())
def test_a_painter_gives_things_new_backgrounds_and_takes_them_away(seed: int, wrong: bool) -> None:
    scene = a_scene(seed)
    thing, filler = scene.items[0], MicroFiller(wrong=float(wrong))
    mask = mask_of(thing, SIZE)
    around = reading(filler.fill(shown(scene), ~mask, "", seed))
    without = reading(filler.fill(shown(scene), mask, "", seed))
    names = sorted(name_of(one) for one in scene.items)
    if wrong:
        assert [name_of(one) for one in around.items] != [name_of(thing)] or around.unknown
        assert without.unknown or sorted(map(name_of, without.items)) != [n for n in names if n != name_of(thing)]
    else:
        assert [name_of(one) for one in around.items] == [name_of(thing)]
        assert around.background not in (None, scene.background)
        assert sorted(map(name_of, without.items)) == [name for name in names if name != name_of(thing)]
        assert without.background == scene.background


def test_new_backgrounds_are_never_the_old_one_and_never_of_the_things_colour() -> None:
    scene = Scene((replace(a_scene(2, 1).items[0], colour="red"),), Background("green"))
    around = [
        reading(MicroFiller().fill(shown(scene), ~mask_of(scene.items[0], SIZE), "", seed)).background
        for seed in range(40)
    ]
    assert len(set(around)) > 8
    assert not {None, scene.background} & set(around)
    assert "red" not in {background.tint for background in around if background}


def test_patterns_of_another_size_are_no_known_background() -> None:
    for pattern in ("striped", "checked"):
        scene = Scene((), Background("yellow", pattern))
        for side, known in ((1.0, scene.background), (1.25, None)):
            pixels = to_levels(
                torch.from_numpy(draw_view(scene, Camera(side=side), SIZE, (1, 1), 0.2)).permute(2, 0, 1)
            )
            assert reading(pixels.numpy()).background == known


@few
@given(seeds)
def test_a_painter_puts_other_things_where_there_is_room(seed: int) -> None:
    scene = a_scene(seed)
    thing = scene.items[0]
    picture = MicroFiller(things=1.0).fill(shown(scene), mask_of(thing, SIZE), "", seed)
    assume(not reading(picture).unknown)
    assert len(reading(picture).items) <= len(scene.items)
    assert name_of(thing) not in map(name_of, reading(picture).items)


@few
@given(seeds)
def test_colours_and_shapes_are_far_apart_at_any_size(seed: int) -> None:
    thing = replace(a_scene(seed, 1).items[0], row=0.5, column=0.5)
    larger = replace(thing, radius=min(0.3, 1.2 * thing.radius))
    other = replace(thing, colour="red" if thing.colour != "red" else "green")

    def crop(one: Thing) -> torch.Tensor:
        edge = round(SIZE * (0.5 - one.radius))
        return draw(Scene((one,)), SIZE)[:, edge : SIZE - edge, edge : SIZE - edge]

    vectors = MicroEmbedder()([crop(one) for one in (thing, larger, other)])
    same, another = (torch.cosine_similarity(vectors[0], vectors[n], dim=0) for n in (1, 2))
    assert same > 0.9 > 0.6 > another


def judged(step: MicroSameThing, clip: OpenClip, first: Scene, last: Scene, name: str, at: Thing, then: Thing) -> bool:
    masks = tuple(keep_mask(clip, number, mask_of(one, SIZE)) for number, one in enumerate((at, then)))
    frames = (kept(clip, first, 0.0), kept(clip, last, 1.0))
    given, _, _ = through("same_thing", step, [Item(frames=frames, subjects=(Subject(name, None, 1, masks),))], clip)
    return bool(given)


def test_a_judge_of_tracks_compares_names_and_things(tmp_path: Path) -> None:
    scene = a_scene(5, 2)
    one, two = scene.items
    clip = OpenClip(tmp_path / "clip.mp4", tmp_path)
    moved = replace(scene, items=(two,))
    for wrong in (0.0, 1.0):
        step = MicroSameThing(wrong)
        assert judged(step, clip, scene, scene, name_of(one), one, one) is not bool(wrong)
        assert judged(step, clip, scene, scene, name_of(one), one, two) is bool(wrong)
        assert judged(step, clip, scene, scene, name_of(one), two, two) is bool(wrong)
        assert judged(step, clip, scene, moved, name_of(two), two, two) is not bool(wrong)


def test_grades_say_what_is_wrong_with_an_example(tmp_path: Path) -> None:
    clip = OpenClip(tmp_path / "clip.mp4", tmp_path)
    scene = a_scene(5, 2)
    one, two = scene.items
    alone, both, target = (
        kept(clip, replace(scene, items=items), float(number))
        for number, items in enumerate(((one,), (one, two), (one,)))
    )
    stranger = kept(clip, replace(scene, items=(two,)), 3.0)

    def reasons(*frames: Frame, wrong: float = 0.0) -> list[str]:
        _, ended, _ = through("judge", MicroJudge(wrong), [Item(frames=frames)], clip)
        return [end.reason for end in ended]

    assert reasons(alone, target) == []
    assert reasons(both, target) == ["the judge finds the composition too poor"]
    assert reasons(stranger, target) == ["the judge finds another subject"]
    assert reasons(alone, target, wrong=1.0)
    assert not reasons(stranger, target, wrong=1.0)


def test_names_are_those_of_the_largest_things(tmp_path: Path) -> None:
    clip = OpenClip(tmp_path / "clip.mp4", tmp_path)
    scene = a_scene(7, 3)
    item = Item(frames=(kept(clip, scene, 0.0),))

    def names(step: MicroNames) -> list[str]:
        (given,), _, _ = through("names", step, [item], clip)
        return [subject.name for subject in given.subjects]

    largest = sorted(reading(shown(scene)).items, key=lambda thing: -thing.radius)
    assert names(MicroNames(most=2)) == [name_of(thing) for thing in largest[:2]]
    assert not set(names(MicroNames(most=3, wrong=1.0))) & {name_of(thing) for thing in largest}
    empty = Item(frames=(kept(clip, replace(scene, items=()), 1.0),))
    assert through("names", MicroNames(), [empty], clip)[1][0].reason == "no subject is named"


@few
@given(seeds)
def test_what_is_wrong_at_a_share_is_wrong_at_a_larger_one(seed: int) -> None:
    """So that tables of several shares compare the same errors."""
    scene = a_scene(seed, 3)
    names = [name_of(thing) for thing in scene.items]
    boxes = [[one.box for one in MicroDetector(wrong, seed).find(shown(scene), names)] for wrong in (0, 0.3, 0.6, 1)]
    for right, some, more, every in zip(*boxes, strict=True):
        assert some in (right, every)
        assert more == every or some == right


def test_an_eager_writer_always_writes() -> None:
    same = shown(a_scene(3, 2))
    other = shown(a_scene(4, 3))
    assert isinstance(MicroWords().words(same, same, "key"), Dropped)
    assert isinstance(MicroWords().words(same, other, "key"), Dropped)
    noise = np.random.default_rng(0).integers(0, 256, same.shape, dtype=np.uint8)
    for before, after in ((same, same), (same, other), (noise, same)):
        assert isinstance(MicroWords(eager=1.0).words(before, after, "key"), str)


@pytest.mark.parametrize("kind", [MicroDetector, MicroTracker, MicroFiller, MicroNames, MicroSameThing, MicroWords])
def test_a_share_is_from_0_to_1(kind: type) -> None:
    with pytest.raises(CurationError, match=f"{kind.__name__} has wrong 1.5"):
        kind(wrong=1.5)


@few
@given(seeds)
def test_the_words_of_in_context_tasks_are_true_of_them(seed: int) -> None:
    task = sample_context(full_vocabulary(SIZE), generator(seed))
    scenes = [reference for reference in task.references if not reference.items]
    said = contexts_of(task.target.items, task.target.background, into_scene=bool(scenes))
    assert task.instruction in said
    assert len(set(said)) == len(said)
    assert contexts_of(task.target.items[::-1], task.target.background, bool(scenes)) != said or len(said) == 1
    assert not contexts_of((), task.target.background)


@few
@given(seeds)
def test_a_view_is_what_is_read_in_the_frame(seed: int) -> None:
    video = sample_video(seed, replace(STILL, moving=1.0, ground=0.0))
    moment = video.moments[int(generator(seed).integers(len(video.moments)))]
    view = view_of(moment)
    names = {name_of(thing) for thing in view.scene.items}
    found = {name_of(thing) for thing in reading(draw_moment(video, moment)).items}
    inside = [min(t.row, t.column, 1 - t.row, 1 - t.column) > t.radius > 0.12 for t in view.scene.items]
    assert found <= names or view.cut
    assert found == names or view.cut or not all(inside)
    assert moment.camera != Camera() or not view.cut
