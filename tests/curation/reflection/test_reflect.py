"""Rounds of drawing, judging and mending: nothing twice, nothing lost, and examples that get better."""

import json
import os
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omnigen2.curation import CurationError
from omnigen2.curation.reflection import Attempts, Mending, Prompt, Try, Unjudged, Verdict
from omnigen2.curation.reflection.results import examples
from omnigen2.data import Sample, read_jsonl
from omnigen2.generate import Sampling
from tests.curation.reflection.parts import PROMPTS, GreyModel, LightJudge, content_of, reflect

DARK = ("it is dark",), ("lighten it",), "lighten it"
said = st.one_of(
    st.builds(lambda score, dark: Verdict(score, *(DARK if dark else ())), st.integers(0, 5), st.booleans()),
    st.builds(Unjudged, st.just("nonsense"), st.just(""), st.booleans()),
    st.none(),
)
attempts = st.lists(st.lists(said, min_size=1, max_size=3), max_size=4).map(
    lambda rounds: Attempts(
        PROMPTS[0],
        tuple(
            tuple(Try(10 * r + n, f"{r}-{n}.png", one) for n, one in enumerate(tries)) for r, tries in enumerate(rounds)
        ),
    )
)


@settings(max_examples=80)
@given(attempts)
def test_each_picture_of_the_path_is_better_than_those_before(one: Attempts) -> None:
    ranks = [attempt.verdict.rank for attempt in one.path]
    assert ranks == sorted(set(ranks))
    assert {attempt.round for attempt in one.path} <= set(filter(one.over, range(len(one.rounds))))
    assert (one.next is None) == one.ended
    assert one.ended == (one.state in ("right", "mended", "unjudged") if one.path else one.over(0))
    assert Attempts.from_json(json.loads(json.dumps(one.to_json()))) == one
    assert one.asked_again().path == one.path


@settings(max_examples=40)
@given(attempts)
def test_examples_show_what_follows(one: Attempts) -> None:
    from omnigen2.curation.reflection import RoundPlan

    lines = list(examples(one, [RoundPlan("draw", 1, "m", "c", "j", {})] * len(one.rounds)))
    path = one.path
    assert len(lines) == max(0, len(path) - 1) + (bool(path) and path[-1].verdict.right)
    for number, line in enumerate(lines):
        assert [Path(picture).name for picture in line["input_images"]] == [a.picture for a in path[: number + 1]]
        assert line["answer"] == path[number].verdict.answer
        follows = None if number == len(path) - 1 else f"prompts/{one.prompt.key}/{path[number + 1].picture}"
        assert line["output_image"] == follows


def test_rounds_are_done_once_and_give_examples(tmp_path: Path) -> None:
    grey, judge = GreyModel(), LightJudge()
    every = reflect(tmp_path, grey, judge)
    out = tmp_path / "out"
    assert {one.state for one in every} == {"right", "mended", "wrong"}
    assert max(grey.batches) == 4
    for one in every:
        seeds = [trial.seed for tries in one.rounds for trial in tries]
        assert len(set(seeds)) == len(seeds)
    asked = [(request.prompt, request.seed, len(request.images)) for request in grey.drawn]
    assert len(set(asked)) == len(asked) == len(judge.asked)
    assert {len(request.images) for request in grey.drawn} == {0, 1}
    edits = [request.prompt for request in grey.drawn if request.images]
    assert all(re.fullmatch(r"lighten \d+", edit) for edit in edits)
    samples = [sample for _, sample in read_jsonl(out / "examples.jsonl")]
    assert all(isinstance(sample, Sample) and sample.task == "reflection" for sample in samples)
    assert sum(sample.target is None for sample in samples if isinstance(sample, Sample)) == sum(
        one.state in ("right", "mended") for one in every
    )
    before, drawn = content_of(out), len(grey.drawn)
    reflect(tmp_path, grey, judge, prompts=())
    assert content_of(out) == before
    assert (len(grey.drawn), len(judge.asked)) == (drawn, drawn)


def test_the_report_counts_every_prompt_of_every_round(tmp_path: Path) -> None:
    every = reflect(tmp_path, GreyModel(), LightJudge(confused=frozenset(range(60, 100))))
    text = (tmp_path / "out" / "report.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| [012] ", line)]
    assert [row[1] for row in rows] == ["draw", "redraw", "edit"]
    left = len(PROMPTS)
    for row in rows:
        came, right, better, wrong, unjudged, waiting = map(int, row[4:])
        assert came == left == right + better + wrong + unjudged + waiting
        left -= right + (unjudged if row[1] == "draw" else 0)
    states = Counter(one.state for one in every)
    assert f"{states['right']} right at once, {states['mended']} mended, {states['wrong']} still wrong" in text
    assert "| nonsense |" in text
    page = (tmp_path / "out" / "gallery" / "index.html").read_text()
    shown = re.findall(r'src="\.\./([^"]+)"', page)
    assert len(shown) == len(set(shown)) == sum(len(tries) for one in every for tries in one.rounds)
    assert all((tmp_path / "out" / name).is_file() for name in shown)


def test_a_newer_model_adds_a_round_and_leaves_the_others(tmp_path: Path) -> None:
    reflect(tmp_path, GreyModel(), LightJudge(), rounds=1)
    before = content_of(tmp_path / "out" / "prompts")
    newer = GreyModel(skill=1)
    every = reflect(tmp_path, newer, LightJudge(), rounds=2, prompts=())
    assert newer.drawn
    assert all(request.images for request in newer.drawn)
    after = content_of(tmp_path / "out" / "prompts")
    assert {name: after[name] for name in before if name.endswith(".png")} == {
        name: content for name, content in before.items() if name.endswith(".png")
    }
    for one in every:
        old = Attempts.from_json(json.loads(before[f"{one.prompt.key}/attempts.json"]))
        assert one.rounds[: len(old.rounds)] == old.rounds
    (line,) = (tmp_path / "out" / "examples.jsonl").read_text().splitlines()[-1:]
    assert json.loads(line)["meta_data"]["rounds"][0]["model"] == "model-0"


def test_a_round_is_finished_as_it_was_begun(tmp_path: Path) -> None:
    dark = frozenset(range(100))
    every = reflect(tmp_path, GreyModel(), LightJudge(silent=dark), rounds=1)
    waiting = sum(one.state == "waiting" for one in every)
    assert waiting
    for other, judge in ((GreyModel(skill=1), LightJudge()), (GreyModel(), LightJudge(by="another"))):
        with pytest.raises(CurationError, match="round [01] .* was begun with other settings") as told:
            reflect(tmp_path, other, judge, rounds=1)
        assert "--rounds" in str(told.value)
        assert not other.drawn
    grey, judge = GreyModel(), LightJudge()
    again = reflect(tmp_path, grey, judge, rounds=1)
    fresh = reflect(tmp_path / "fresh", GreyModel(), LightJudge(), rounds=1)
    assert again == fresh
    first = [one for one in judge.asked if one[1] in dark]
    assert len(first) >= waiting  # they are asked about again, and nobody else


def test_what_cannot_be_read_is_told_and_asked_again_on_demand(tmp_path: Path) -> None:
    confused = LightJudge(confused=frozenset(range(100)))
    every = reflect(tmp_path, GreyModel(), confused, rounds=1)
    assert "unjudged" in {one.state for one in every}
    judge = LightJudge()
    assert reflect(tmp_path, GreyModel(), judge, rounds=1) == every
    assert not judge.asked
    mended = reflect(tmp_path, GreyModel(), judge, rounds=1, retry=True)
    assert "unjudged" not in {one.state for one in mended}
    assert [one.prompt for one in mended] == [one.prompt for one in every]


def test_a_judge_that_says_nothing_stops_it(tmp_path: Path) -> None:
    with pytest.raises(CurationError, match="8 pictures in a row got no verdict; the last: no answer it sleeps"):
        reflect(tmp_path, GreyModel(), LightJudge(silent=frozenset(range(256))))
    assert "9 waiting" in (tmp_path / "out" / "report.md").read_text()
    grey = GreyModel()
    every = reflect(tmp_path, grey, LightJudge(), rounds=0)
    assert not grey.drawn  # they are there
    assert "waiting" not in {one.state for one in every}


def test_refusals(tmp_path: Path) -> None:
    for name in ("rounds", "tries", "batch_size"):
        with pytest.raises(CurationError, match=f"{name} must be at least"):
            Mending(**{name: -1}, sampling=Sampling())
    with pytest.raises(CurationError, match="has no prompts"):
        reflect(tmp_path, GreyModel(), LightJudge(), prompts=())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(CurationError, match="has files"):
        reflect(tmp_path, GreyModel(), LightJudge())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


WATCHED = ("os.mkdir", "os.rename")
LIMIT = 20.0


def killed_at(moment: int, folder: Path) -> bool:
    """Let a forked process work until it has written so many times, then kill it; False if it came to its end."""
    child = os.fork()
    if not child:
        left = moment

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            writes = event in WATCHED or (event == "open" and arguments[2] & os.O_ACCMODE)
            if writes and str(folder / "out") in str(arguments[:2]):
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(watch)
        try:
            reflect(folder, GreyModel(), LightJudge(), prompts=PROMPTS[:2])
        finally:
            os._exit(0)
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.WIFSIGNALED(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"killed at {moment} it hangs")


def test_killed_at_any_moment_is_uninterrupted(tmp_path: Path) -> None:
    reflect(tmp_path, GreyModel(), LightJudge(), prompts=PROMPTS[:2])
    whole, kills = content_of(tmp_path / "out"), 0
    for moment in range(0, 1000, 8):
        again = tmp_path / f"killed-{moment}"
        again.mkdir()
        stopped = killed_at(moment, again)
        kills += stopped
        reflect(again, GreyModel(), LightJudge(), prompts=PROMPTS[:2])
        assert content_of(again / "out") == whole
        if not stopped:
            break
    assert kills > 5


def test_prompts_are_known_by_what_they_ask_for() -> None:
    one = Prompt("a", 0, 4, 6)
    others = (Prompt("b", 0, 4, 6), Prompt("a", 1, 4, 6), Prompt("a", 0, 6, 4), Prompt("a", 0, 4, 6, "m"))
    assert len({one.key, *(other.key for other in others)}) == 5
    assert one.key == Prompt("a", 0, 4, 6, "").key
