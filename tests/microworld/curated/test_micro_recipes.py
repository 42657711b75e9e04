"""Recipes of drawn videos, from mp4 files to examples; and reports that find mistakes that were made on purpose."""

import re
from collections.abc import Sequence
from pathlib import Path
from shutil import copy

import pytest

from omnigen2.curation import InProcess, Item, OpenClip, curate, read_recipe, through
from omnigen2.curation.items import Clip
from omnigen2.curation.records import Finished
from omnigen2.data import JsonlSource
from omnigen2.microworld.curated import InContextTruth
from omnigen2.microworld.video import Footage, write_videos
from tests.paths import RECIPES

FOLDER = RECIPES / "curation"
SHORT = Footage(shots=(1, 1), seconds=(1.6, 2.0), rate=10, moving=0.0, changes=1)
EXACT = {
    "micro_incontext": "right in all: subjects, places, background, words, kept",
    "micro_incontext_edit": "right in all: subjects, places, background, words, kept",
    "micro_inpaint": "instructions that are true of their pair, kept",
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_videos(folder, 6, 3, SHORT)
    return folder


def shares(report: str) -> dict[str, tuple[int, int]]:
    """What the report says of each line: so many of so many."""
    found = re.findall(r"^\| ([^|]+) \| (\d+) of (\d+) \(", report, re.MULTILINE)
    return {name.strip(): (int(part), int(whole)) for name, part, whole in found}


@pytest.mark.parametrize("name", ["micro_incontext", "micro_incontext_edit", "micro_inpaint", "micro_interleaved"])
def test_examples_come_out_and_are_right(name: str, videos: Path, tmp_path: Path) -> None:
    recipe = read_recipe(FOLDER / f"{name}.yaml")
    curate(recipe, videos, tmp_path / "out", InProcess())
    source = JsonlSource(tmp_path / "out" / "examples.jsonl")
    assert len(source) >= 3
    report = (tmp_path / "out" / "report.md").read_text()
    assert ": error" not in report
    samples = [source[number] for number in range(len(source))]
    match name:
        case "micro_incontext":
            assert all(re.match("draw the (object|character) from image 1", one.instruction) for one in samples)
            assert {len(one.references) for one in samples} <= {1, 2}
        case "micro_incontext_edit":
            assert all(one.instruction.split(" image ")[-1] == str(len(one.references)) for one in samples)
        case "micro_inpaint":
            assert {"add", "replace"} <= {one.instruction.split()[0] for one in samples}
        case _:
            assert max(len(one.references) for one in samples) > 1
    if name in EXACT:
        right, kept = shares(report)[EXACT[name]]
        assert right == kept == len(source)


FILTERS = ("same_thing", "subject_kept", "judge")


@pytest.fixture(scope="module")
def begun(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[OpenClip, Sequence[Item]]]:
    """The scenes and key frames of the videos, which all lines of the table below start from."""
    steps = read_recipe(FOLDER / "micro_incontext.yaml").steps
    clips: list[tuple[OpenClip, Sequence[Item]]] = []
    for path in sorted(videos.glob("*.mp4")):
        opened, items = OpenClip(path, tmp_path_factory.mktemp(path.stem)), [Item()]
        for name in ("cuts", "key_frames"):
            items, _, _ = through(name, steps[name], items, opened)
        clips.append((opened, items))
    return clips


def told(
    begun: list[tuple[OpenClip, Sequence[Item]]], videos: Path, change: str, without: Sequence[str] = FILTERS
) -> dict[str, tuple[int, int]]:
    """The report of what becomes of the clips with one change and without some filters."""
    steps = read_recipe(FOLDER / "micro_incontext.yaml", [change]).steps
    done: list[Finished] = []
    for opened, items in begun:
        ended, counts = [], []
        for name in list(steps)[2:]:
            if name not in without:
                items, dropped, count = through(name, steps[name], items, opened)
                ended, counts = ended + dropped, [*counts, count]
        clip = Clip(opened.file.name, opened.file.stem)
        done.append(Finished(clip, opened.folder, tuple(items), tuple(ended), tuple(counts), {}))
    assert [error.detail for one in done for error in one.errors] == []
    return shares(InContextTruth().text(done, videos))


RIGHT, SUBJECTS = EXACT["micro_incontext"], "subjects are right, kept"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("background.filler.init_args.wrong=1", SUBJECTS),
        ("tracks.tracker.init_args.cut=1", SUBJECTS),
        ("tracks.tracker.init_args.wrong=1", RIGHT),
        ("words.wrong=1", RIGHT),
    ],
)
def test_the_report_finds_mistakes_and_filters_keep_them_out(
    change: str, line: str, begun: list[tuple[OpenClip, Sequence[Item]]], videos: Path
) -> None:
    right, kept = told(begun, videos, change)[line]
    assert kept >= 3
    assert right <= kept / 2
    if "words" not in change:
        filtered = told(begun, videos, change, ()).get(line, (0, 0))
        assert filtered[0] == filtered[1] < kept


def test_videos_without_their_truth_are_left_out_of_it(
    begun: list[tuple[OpenClip, Sequence[Item]]], tmp_path: Path
) -> None:
    copy(begun[0][0].file, tmp_path)
    lines = told(begun[:1], tmp_path, "words.seed=1", ())
    assert not lines
