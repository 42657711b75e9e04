"""The best of several: who wins, what is told, and that nothing drawn is lost."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnigen2.generate import (
    BestOf,
    Choice,
    GenerateError,
    Generator,
    Job,
    Picture,
    Request,
    Sampling,
    best_of,
    choose,
    read_parameters,
)
from omnigen2.generate.jobs import NoVerdict, Verdict
from omnigen2.rl import Failure, Judgement, Outcome

ASKED = Request(prompt="a", height=32, width=32, seed=5)
FAST = Sampling(steps=1)
FAILED = Failure("nobody there", "port 9")
scores = st.none() | st.floats(-10, 10, width=16)


class Says:
    """Gives the values that it is told, one after another; None fails."""

    def __init__(self, *values: float | None) -> None:
        self.values, self.seen = list(values), []

    def __call__(self, pictures: Sequence[Picture]) -> list[Outcome]:
        self.seen += pictures
        mine, self.values = self.values[: len(pictures)], self.values[len(pictures) :]
        return [FAILED if value is None else Judgement(value, {"half": value / 2}, f"it is {value}") for value in mine]


def blank(seed: int) -> Picture:
    return Picture(Image.new("RGB", (16, 16), (seed, 0, 0)), replace(ASKED, seed=seed), FAST)


def test_outcomes_of_rewards_are_verdicts() -> None:
    assert isinstance(Judgement(0.0), Verdict)
    assert not isinstance(FAILED, Verdict)
    assert isinstance(FAILED, NoVerdict)


@given(st.lists(scores, min_size=1, max_size=6))
def test_the_highest_score_wins_of_equal_ones_the_first_and_what_failed_never(values: list[float | None]) -> None:
    (choice,) = choose([[blank(5 + number) for number in range(len(values))]], Says(*values), "me")
    valid = [value for value in values if value is not None]
    assert choice.best == (values.index(max(valid)) if valid else None)
    assert choice.scores == tuple(values)
    assert choice.failed == values.count(None)
    assert all(said == str(FAILED) for said, value in zip(choice.said, values, strict=True) if value is None)
    seeds = [seed for seed in range(5, 5 + len(values)) if "best_of" in choice.parameters(seed)]
    assert seeds == ([] if choice.best is None else [5 + choice.best])


@given(st.lists(st.lists(scores, min_size=1, max_size=3), min_size=1, max_size=4))
def test_requests_judged_together_are_judged_as_alone(groups: list[list[float | None]]) -> None:
    pictures = [[blank(10 * number + k) for k in range(len(own))] for number, own in enumerate(groups)]
    together = choose(pictures, Says(*sum(groups, [])), "me")
    assert together == [choose([own], Says(*values), "me")[0] for own, values in zip(pictures, groups, strict=True)]


def test_a_score_that_is_no_number_is_a_failed_judgement() -> None:
    (choice,) = choose([[blank(5), blank(6), blank(7)]], Says(math.nan, math.inf, -3.0), "me")
    assert (choice.scores, choice.best) == ((None, None, -3.0), 2)


def test_too_few_verdicts_are_refused() -> None:
    with pytest.raises(GenerateError, match="1 verdicts on 2 pictures"):
        choose([[blank(5), blank(6)]], Says(1.0), "me")


def test_the_best_is_the_picture_of_its_seed_and_tells_all_scores(generator: Generator, tmp_path: Path) -> None:
    judged = best_of(generator, ASKED, Says(1.0, None, 3.0), 3, FAST, by="me: loudly", batch_size=2)
    alone = generator("a", height=32, width=32, seed=7, steps=1).images[0]
    assert judged.best.image.tobytes() == alone.tobytes()
    told = read_parameters(judged.best.save(tmp_path / "best.png"))
    assert (told["seed"], told["best_of"], told["chosen_by"]) == (7, 3, "me: loudly")
    assert told["choice"] == {
        "first_seed": 5,
        "scores": [1.0, None, 3.0],
        "parts": [{"half": 0.5}, {}, {"half": 1.5}],
        "said": ["it is 1.0", "nobody there: port 9", "it is 3.0"],
    }
    assert "best_of" not in judged.pictures[0].parameters


def test_nobody_wins_where_all_failed(generator: Generator) -> None:
    judged = best_of(generator, ASKED, Says(None, None), 2, FAST, by="me")
    assert len(judged.pictures) == 2
    with pytest.raises(GenerateError, match=r"none of the 2 pictures could be judged by me \(nobody there: port 9\)"):
        _ = judged.best


@pytest.mark.parametrize(
    ("asked", "n", "size", "message"),
    [
        (ASKED, 0, None, "best_of must be at least 1, got 0"),
        (ASKED, 10**6, None, "best_of"),
        (replace(ASKED, seed=None), 2, None, "has no seed"),
        (replace(ASKED, seed=2**63 - 2), 4, None, "below 2"),
        (ASKED, 2, 0, "batch_size must be at least 1"),
    ],
)
def test_what_cannot_be_used_is_refused_before_drawing(
    generator: Generator, asked: Request, n: int, size: int | None, message: str
) -> None:
    says = Says()
    with pytest.raises(GenerateError, match=message):
        best_of(generator, asked, says, n, FAST, batch_size=size)
    assert not says.seen


def drawn(best: BestOf, *jobs: Job) -> None:
    for job in jobs:
        for one in best.candidates(job):
            Picture(blank(one.request.seed or 0).image, one.request, FAST, "tiny").save(one.out)


def test_where_the_best_stands_the_others_have_their_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr("omnigen2.generate.jobs.best.save_picture", lambda image, told, out: written.append(out.name))
    best, job = BestOf(3, Says(2.0, 1.0, 0.0), "me", keep_all=True), Job(tmp_path / "a.png", ASKED, FAST)
    drawn(best, job)
    list(best.settle([job]))
    assert written == ["6.png", "7.png", "a.png"]


@pytest.mark.parametrize("keep_all", [False, True])
def test_of_files_the_best_takes_its_name_and_the_others_go_or_stay(tmp_path: Path, keep_all: bool) -> None:
    best, job = BestOf(3, Says(0.0, 2.0, 1.0), "me", keep_all), Job(tmp_path / "a.png", ASKED, FAST)
    drawn(best, job)
    ((_, choice),) = best.settle([job])
    assert choice.best == 1
    assert Image.open(job.out).getpixel((0, 0)) == (6, 0, 0)
    left = sorted(path.name for path in best.folder(job).iterdir()) if keep_all else []
    assert left == (["5.png", "7.png"] if keep_all else [])
    assert best.folder(job).exists() == keep_all
    for name in left:
        told = read_parameters(best.folder(job) / name)
        assert told["choice"]["scores"] == [0.0, 2.0, 1.0]
        assert "best_of" not in told


def test_a_job_is_done_only_if_it_was_chosen_as_it_is_now(tmp_path: Path) -> None:
    best, job = BestOf(2, Says(0.0, 2.0), "me"), Job(tmp_path / "a.png", ASKED, FAST)
    drawn(best, job)
    list(best.settle([job]))
    assert job.done("tiny", (), 2, "me")
    for wrong in ((1, ""), (3, "me"), (2, "you")):
        with pytest.raises(GenerateError, match=r"drawn with (best_of|chosen_by)"):
            job.done("tiny", (), *wrong)
    with pytest.raises(GenerateError, match="drawn with seed 5 in place of 6"):
        replace(job, request=replace(ASKED, seed=6)).done("tiny", (), 2, "me")
    plain = replace(job, out=tmp_path / "b.png")
    Picture(blank(5).image, ASKED, FAST, "tiny").save(plain.out)
    with pytest.raises(GenerateError, match="drawn with best_of 1 in place of 2"):
        plain.done("tiny", (), 2, "me")


def test_where_all_failed_the_candidates_stay_and_the_other_jobs_are_written(tmp_path: Path) -> None:
    jobs = [Job(tmp_path / f"{name}.png", ASKED, FAST, f"line {name}") for name in "ab"]
    best = BestOf(2, Says(None, None, 1.0, 2.0), "me")
    drawn(best, *jobs)
    with pytest.raises(GenerateError, match=r"line a: none of the 2 pictures could be judged.*\n.*a\.png\.candidates"):
        list(best.settle(jobs))
    assert [job.out.exists() for job in jobs] == [False, True]
    assert all(one.done("tiny", ()) for one in best.candidates(jobs[0]))


def test_a_choice_of_nobody_is_told_in_no_picture() -> None:
    assert "best_of" not in Choice("me", 5, (None,), ({},), ("why",)).parameters(5)
