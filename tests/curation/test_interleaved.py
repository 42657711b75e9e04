"""Sequences of key frames: of no more pictures than wanted, and nothing of them is lost on the way to examples."""

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.curation import CurationError, Frame, Item, OpenClip, through
from omnigen2.curation.steps import DescribeChanges, Sequences
from tests.curation.asked import answering, folder_of, frames_of, texts_of

NOWHERE = OpenClip(Path("clip.mp4"), Path())


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(2, 6))
def test_sequences_are_short_in_order_and_of_neighbouring_scenes(frames: list[int], most: int) -> None:
    scenes = [
        Item(f"scene {scene}", (scene, scene + 1.0), tuple(Frame(scene + n / 10, f"{scene}-{n}") for n in range(count)))
        for scene, count in enumerate(frames)
    ]
    made, ended, count = through("sequences", Sequences(most), scenes, NOWHERE)
    assert count.taken == count.went_on + len(ended) == len(scenes)
    for item in made:
        assert 2 <= len(item.frames) <= most
        assert all(first.seconds < second.seconds for first, second in pairwise(item.frames))
        assert item.span is not None
        assert item.span[0] <= item.frames[0].seconds <= item.frames[-1].seconds < item.span[1]
    within = [item for item in made if item.key.endswith("within")]
    across = [item for item in made if item.key.endswith("across")]
    assert len(within) == sum(number > 1 for number in frames)
    assert all(
        {item.frames[0], item.frames[-1]} == {scene.frames[0], scene.frames[-1]}
        for item, scene in zip(within, [one for one in scenes if len(one.frames) > 1], strict=True)
    )
    taken = [int(frame.seconds) for item in across for frame in item.frames]
    assert taken == list(range(len(frames) - (len(frames) % most == 1)))
    assert len({item.key for item in made}) == len(made)


def changed(change: Any, usable: bool = True) -> dict[str, Any]:
    return {"usable": usable, "change": change, "problem": ""}


def test_every_picture_but_the_first_is_a_target_and_the_last_example_holds_all(tmp_path: Path) -> None:
    clip = folder_of(tmp_path)
    item = Item("scene 0, within", (0.0, 4.0), frames_of(clip, 10, 90, 170, 250))
    changes = ["The light\ngoes on.", "It grows.", "All is white."]
    with answering(*map(changed, changes)) as (server, served):
        made, _, _ = through("changes", DescribeChanges(server), [item], clip)
        assert [texts_of(asked) for asked in served.asked] == [["First:", "Second:"]] * 3
    assert [one.frames[-1] for one in made] == list(item.frames[1:])
    assert made[-1].frames == item.frames
    told = [" ".join(change.split()) for change in changes]
    assert made[-1].instruction == (
        f"Image 1 is the beginning. Image 2: {told[0]} Image 3: {told[1]} Draw what comes next: {told[2]}"
    )
    for one in made:
        numbers = [int(number) for number in re.findall(r"Image (\d+)", one.instruction)]
        assert numbers == list(range(1, len(one.frames)))
    assert len({one.key for one in made}) == 3


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (changed("", usable=False), "the model finds no change"),
        (changed(" "), "the model gave an empty change"),
        (changed(3), "an answer that cannot be read"),
    ],
)
def test_a_sequence_with_a_change_that_nobody_tells_is_dropped(tmp_path: Path, second: Any, reason: str) -> None:
    clip = folder_of(tmp_path)
    with answering(changed("It grows."), second) as (server, _):
        _, (end,), _ = through("changes", DescribeChanges(server), [Item(frames=frames_of(clip, 1, 2, 3))], clip)
    assert end.reason == reason


def test_a_sequence_of_one_picture_is_refused() -> None:
    with pytest.raises(CurationError, match="at least 2"):
        Sequences(1)
