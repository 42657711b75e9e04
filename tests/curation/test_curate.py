"""Folders in, examples out: nothing is lost, nothing comes twice, and everything is told."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.curation import CurationError, InProcess, Recipe, Store, curate
from omnigen2.curation.records import funnel
from omnigen2.data import JsonlSource
from omnigen2.errors import UserError
from tests.curation.parts import recipe, write_clips

TEXTS = ("0.5 a cat\n0.9 a dog\n0.1 a cow", "0.6 an ox\nboom\n0.3 a <b>hen</b>", "", "0.4 a pig")


def examples(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "examples.jsonl").read_text().splitlines()]


def said(out: Path) -> list[object]:
    return [example["instruction"] for example in examples(out)]


def content_of(out: Path) -> dict[str, bytes]:
    """All files of a folder that do not tell how long things took."""
    timed = ("report.md", "clip.json", ".lock")
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in timed
    }


LINES = st.lists(st.sampled_from(["0.5 a cat", "0.9 a dog", "0.1 a cow", "boom", "0.25 a hen", "nan a ghost"]))


@given(st.lists(LINES.map("\n".join), min_size=1, max_size=4, unique=True))
def test_what_goes_in_is_kept_or_dropped_for_a_reason(texts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made, clips = recipe(folder), write_clips(folder / "clips", *texts)
        curate(made, clips, folder / "out", InProcess())
        finished = Store(folder / "out").finished()
        taken = len(texts)
        for count in funnel(finished, list(made.steps)):
            assert count.taken == taken == count.went_on + sum(count.dropped.values())
            taken = count.given
        lines = [line for text in texts for line in text.splitlines()]
        assert taken == len(examples(folder / "out")) == sum(line.endswith(("cat", "hen")) for line in lines)
        reasons = [end.reason for one in finished for end in one.ended]
        assert reasons.count("error") == lines.count("boom")
        assert reasons.count("too low") == lines.count("0.1 a cow") + lines.count("nan a ghost")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return write_clips(tmp_path / "clips", *TEXTS)


@pytest.fixture
def made(tmp_path: Path) -> Recipe:
    return recipe(tmp_path)


def test_examples_are_read_by_the_data_room_and_tell_where_they_come_from(made: Recipe, clips: Path, out: Path) -> None:
    curate(made, clips, out, InProcess())
    source = JsonlSource(out / "examples.jsonl")
    assert [source[number].instruction for number in range(len(source))] == said(out)
    assert said(out) == ["a cat", "an ox", "a <b>hen</b>", "a pig"]
    meta = json.loads(source[1].meta)
    assert (meta["file"], meta["key"], meta["seconds"]) == ("1.txt", "line 0", [0.0, 0.5])
    assert meta["scores"] == {"grade": 0.6}
    assert meta["recipe"] == made.identity
    assert "omnigen2" in meta["versions"]


def test_an_error_costs_its_item_and_is_told_with_its_cause(made: Recipe, clips: Path, out: Path) -> None:
    assert curate(made, clips, out, InProcess()).errors == 1
    report = (out / "report.md").read_text()
    assert "| grade: error | 1 | KeyError: 'boom' (1) |" in report
    assert "`1.txt`: grade: KeyError: 'boom'" in report
    assert "## Share\n\n4 of clips" in report
    again = curate(made, clips, out, InProcess(), retry_errors=True)
    assert (again.known, again.done, again.errors) == (3, 1, 1)


def test_finished_clips_are_known_by_their_content(made: Recipe, clips: Path, out: Path) -> None:
    curate(made, clips, out, InProcess())
    before = content_of(out)
    (clips / "0.txt").rename(clips / "zebra.txt")
    shutil.copy(clips / "3.txt", clips / "copy.txt")
    seen = curate(made, clips, out, InProcess())
    assert (seen.files, seen.clips, seen.known, seen.done) == (5, 4, 4, 0)
    assert seen.copies == [("copy.txt", "3.txt")]
    page = "gallery/index.html"  # has no link to a clip that is called otherwise now
    assert {**content_of(out), page: b""} == {**before, page: b""}
    (clips / "new.txt").write_text("0.5 a new one")
    assert curate(made, clips, out, InProcess()).done == 1
    assert said(out) == ["a cat", "an ox", "a <b>hen</b>", "a pig", "a new one"]


def test_a_silent_server_leaves_its_clips_for_another_time(tmp_path: Path, clips: Path, out: Path) -> None:
    made = recipe(tmp_path, say={"silent": str(tmp_path / "silent")})
    (tmp_path / "silent").touch()
    seen = curate(made, clips, out, InProcess())
    assert [name for name, _ in seen.unanswered] == ["0.txt", "1.txt", "3.txt"]
    assert said(out) == []
    assert "wait for another try with the same command: 3" in (out / "report.md").read_text()
    (tmp_path / "silent").unlink()
    assert curate(made, clips, out, InProcess()).known == 1
    assert len(said(out)) == 4


def test_clip_after_clip_that_fails_stops_the_command(tmp_path: Path, out: Path) -> None:
    clips = write_clips(tmp_path / "clips", *(f"boom\n{number}" for number in range(20)))
    with pytest.raises(CurationError, match=r"8 clips one after another have failed; the last was 15.txt"):
        curate(recipe(tmp_path), clips, out, InProcess())
    assert len(Store(out).finished()) == 8
    assert (out / "report.md").exists()


def test_a_step_without_words_or_of_another_mind_stops_the_command(tmp_path: Path, clips: Path, out: Path) -> None:
    with pytest.raises(CurationError, match=r"0.txt: line 0: the last step gives items without an instruction"):
        curate(recipe(tmp_path, say={"wordless": True}), clips, out, InProcess())
    with pytest.raises(UserError, match=r"steps.say: there is no server nowhere"):
        curate(recipe(tmp_path, say={"url": "nowhere"}), clips, tmp_path / "other", InProcess())


def test_a_folder_belongs_to_one_recipe(tmp_path: Path, made: Recipe, clips: Path, out: Path) -> None:
    curate(made, clips, out, InProcess())
    with pytest.raises(CurationError, match=r"steps.grade.init_args.least was 0.25, now it is 0.3\n"):
        curate(recipe(tmp_path, ["grade.least=0.3"]), clips, out, InProcess())
    curate(recipe(tmp_path, ["say.url=elsewhere", "grade.workers=1"]), clips, out, InProcess())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    for folder, problem in ((tmp_path / "full", "has files"), (clips / "out", "lies in the folder of the clips")):
        with pytest.raises(CurationError, match=problem):
            curate(made, clips, folder, InProcess())
    with Store(out).claimed(made), pytest.raises(CurationError, match="another command is working in"):
        curate(made, clips, out, InProcess())


def test_the_gallery_shows_pictures_that_are_there_and_words_as_they_are(made: Recipe, clips: Path, out: Path) -> None:
    curate(made, clips, out, InProcess())
    page = (out / "gallery" / "index.html").read_text()
    pictures = [part.partition('"')[0] for part in page.split('src="')[1:]]
    assert len(pictures) == 2 * (4 + 3)
    assert all((out / "gallery" / picture).is_file() for picture in pictures)
    assert "a &lt;b&gt;hen&lt;/b&gt;" in page
    assert "<h2>Kept: 4</h2>" in page
    assert "<h2>grade: too high: 1</h2>" in page
