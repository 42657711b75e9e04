"""The study of curation in miniature: its data commands, what each of them keeps, and the plan of its runs."""

import json
from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import pytest

from omnigen2.cli import main
from omnigen2.curation import Dropped, Frame, Item, OpenClip, Store
from omnigen2.microworld.curated import TrueWords
from omnigen2.microworld.runs import NewReferences
from omnigen2.microworld.video import Footage, read_truth, true_edits, write_videos
from tests.paths import RECIPES
from tests.recipes.cases import build
from tests.runner.recipes import planned

DATA = Path("runs/curation_data")
KINDS = {
    "curated": RECIPES / "curation" / "micro_edit.yaml",
    "exact": RECIPES / "micro" / "curation_study" / "exact.yaml",
    "unfiltered": RECIPES / "micro" / "curation_study" / "unfiltered.yaml",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pairs of two short videos, made by the commands that the study's recipe names."""
    folder = tmp_path_factory.mktemp("study")
    footage = Footage(vocabulary="easy", shots=(1, 2), rate=8, fades=0, moving=0.3)
    write_videos(folder / DATA / "videos", 2, seed=16, footage=footage)
    for kind, recipe in KINDS.items():
        words = ["curate", str(recipe), "--clips", str(folder / DATA / "videos"), "--engine", "here"]
        assert main([*words, "--out", str(folder / DATA / kind)]) == 0
    return folder


def pairs(made: Path, kind: str) -> dict[tuple[str, ...], str]:
    """The instruction of each pair of frames."""
    lines = (made / DATA / kind / "examples.jsonl").read_text().splitlines()
    metas = [(json.loads(line)["instruction"], json.loads(line)["meta_data"]) for line in lines]
    return {(meta["file"], *map(str, meta["seconds"])): words for words, meta in metas}


def test_exact_pairs_are_all_those_between_which_one_edit_lies(made: Path) -> None:
    found = pairs(made, "exact")
    assert found
    for (name, first, second), words in pairs(made, "unfiltered").items():
        video = read_truth(made / DATA / "videos" / name)
        true = {edit.instruction for edit in true_edits(video.at(float(first)), video.at(float(second)))}
        exact = found.get((name, first, second))
        assert (exact in true) if true else exact is None, words


def test_pairs_with_a_frame_in_a_fade_are_not_exact(tmp_path: Path) -> None:
    footage = Footage(shots=(2, 2), seconds=(1.2, 1.3), rate=10, fades=1.0, moving=0.0)
    (tmp_path / "x.json").write_text(json.dumps({"seed": 0, "footage": asdict(footage)}))
    moments = read_truth(tmp_path / "x.mp4").moments
    pairs_of = [(a, b) for a, b in combinations(moments, 2) if true_edits(a, b)]
    items = [Item(frames=(Frame(a.time, ""), Frame(b.time, ""))) for a, b in pairs_of]
    outcomes = TrueWords().run(items, OpenClip(tmp_path / "x.mp4", tmp_path))
    lit = [min(a.light, b.light) > 0.9 for a, b in pairs_of]
    assert {True, False} == set(lit)
    assert [isinstance(outcome, Dropped) for outcome in outcomes] == [not one for one in lit]


def test_unfiltered_pairs_are_all_pairs_and_curated_ones_some_of_them(made: Path) -> None:
    counts = {kind: len(pairs(made, kind)) for kind in KINDS}
    steps = [step for one in Store(made / DATA / "unfiltered").finished() for step in one.counts]
    assert counts["unfiltered"] == sum(step.taken for step in steps if step.step == "words")
    assert pairs(made, "curated").keys() < pairs(made, "unfiltered").keys()
    assert 0 < counts["curated"] <= counts["exact"] < counts["unfiltered"]


def test_the_study_trains_on_each_file_with_each_seed(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
    study = planned(files=[str(RECIPES / "micro" / "curation_study.yaml")])
    assert {run.name for run in study.runs} == {f"{kind}/seed_{seed}" for kind in KINDS for seed in range(3)}
    run = RECIPES / "micro" / "curation_study" / "train.yaml"
    _, module, data = build(run, f"--vars.edits={DATA / 'exact' / 'examples.jsonl'}", "--data.init_args.batch_size=4")
    assert isinstance(module, NewReferences)
    assert {example.instruction for example in data.batch(0).examples} <= set(pairs(made, "exact").values())
