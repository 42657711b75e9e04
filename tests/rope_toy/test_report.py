import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.rope_toy.data import EVALUATIONS
from omnigen2.rope_toy.plots import apart
from omnigen2.rope_toy.report import ToyReport
from omnigen2.rope_toy.results import first_below, numbers_of, order_of_final_loss, order_of_steps, sentence
from omnigen2.rope_toy.samples import answers, save_answers
from omnigen2.rope_toy.sources import PlaneWaves
from omnigen2.rope_toy.task import CopyTask
from omnigen2.runner.plan import Plan, Results, Row, RunResult
from tests.runner.results import finished

TARGET = 0.014
PAPER = {"lumina": 2500, "qwen": 1200, "omni": 800, "index": 800}
LIMIT = 1000

Hits = Sequence[int | None]


def cell(row: str, seed: int, hit: int | None, final: float, folder: Path) -> RunResult:
    """A curve that is below the target from `hit` on and ends at `final`; never below if there is no hit."""
    losses = {step: 0.01 if hit is not None and step >= hit else 0.1 for step in range(100, LIMIT - 250, 50)}
    final = final if hit is not None else max(final, 0.02)
    losses |= {LIMIT - 200 + 50 * number: final for number in range(5)}
    speed = {"throughput/seconds_per_step": 0.05, "throughput/data_seconds_per_step": 0.01}
    metrics = [{"step": float(step), "eval/loss": loss, **speed} for step, loss in losses.items()]
    metrics[-1] |= dict(zip(EVALUATIONS[1:], (0.02, 0.3), strict=True))
    return RunResult(row, None, folder / row / str(seed), tuple(metrics), {"seconds": 9.0})


def study(hits: dict[str, Hits], finals: dict[str, float], folder: Path = Path("none")) -> tuple[Plan, Results]:
    rows = tuple(
        Row(name, name.title(), {"formula": "(Δ, h, w)"} | ({"paper_steps": PAPER[name]} if name in PAPER else {}))
        for name in hits
    )
    cells = {(n, s): [cell(n, s, hit, finals[n], folder)] for n, found in hits.items() for s, hit in enumerate(found)}
    return finished(folder, cells, rows)


AS_IN_PAPER: dict[str, Hits] = {
    "lumina": (None, None), "qwen": (600, 700), "omni": (400, 450), "index": (350, 400), "ours": (300, 300),
}  # fmt: skip
FINALS = {"lumina": 0.03, "qwen": 0.005, "omni": 0.003, "index": 0.002, "ours": 0.001}


@pytest.mark.parametrize(
    ("hits", "finals", "words"),
    [
        (
            {}, {}, [
                "holds for the steps to a loss below 0.014 (> 1000, 650, 425, 375)",
                "holds for the final loss (0.0300, 0.0050, 0.0030, 0.0020)",
            ],
        ),
        (
            {"qwen": (300, 400)}, {"index": 0.004}, [
                "does not hold for the steps to a loss below 0.014", "Qwen (350) against Omni (425)",
                "does not hold for the final loss", "Omni (0.0030) against Index (0.0040)",
            ],
        ),
        (
            {"qwen": (600, None)}, {}, [
                "cannot be decided for the steps", "Lumina (> 1000) against Qwen (> 800)", "holds for the final loss",
            ],
        ),
    ],
)  # fmt: skip
def test_the_sentence_says_whether_the_order_holds(hits: Any, finals: Any, words: list[str]) -> None:
    text = sentence(numbers_of(*study(AS_IN_PAPER | hits, FINALS | finals), TARGET), TARGET)
    assert all(part in text for part in words)
    assert ("not" in text.replace("cannot", "")) == bool(finals)
    assert "Ours" not in text


def test_equal_steps_are_in_order_where_the_paper_has_them_and_a_row_that_never_arrives_is_slow() -> None:
    steps = numbers_of(*study(AS_IN_PAPER | {"index": (400, 450)}, FINALS), TARGET)
    assert order_of_steps(steps[:4]).verdict == "holds"
    steps = numbers_of(*study(AS_IN_PAPER | {"qwen": (400, 450)}, FINALS), TARGET)
    assert order_of_steps(steps[:4]).verdict == "does not hold"
    rows = numbers_of(*study({"lumina": (500, 500), "qwen": (None, None)}, FINALS), TARGET)
    assert order_of_steps(rows).verdict == "does not hold"


@given(
    hits=st.lists(st.sampled_from([None, *range(100, 750, 50)]), min_size=4, max_size=4),
    finals=st.lists(st.floats(1e-4, 9e-3), min_size=4, max_size=4),
)
def test_law_the_verdict_is_that_of_the_compared_numbers(hits: list[int | None], finals: list[float]) -> None:
    names = list(PAPER)
    result = study({n: (hit,) for n, hit in zip(names, hits, strict=True)}, dict(zip(names, finals, strict=True)))
    rows = numbers_of(*result, TARGET)
    ends = [row.final[0] for row in rows]
    expected = ends[0] > ends[1] > ends[2] >= ends[3]
    assert order_of_final_loss(rows).verdict == ("holds" if expected else "does not hold")
    lumina, qwen, omni, index = (row.least_steps for row in rows)
    verdict = order_of_steps(rows).verdict
    if all(row.all_reached for row in rows):
        assert verdict == ("holds" if lumina > qwen > omni >= index else "does not hold")
    if verdict == "holds":
        assert all(row.all_reached for row in rows[1:])


def test_steps_never_reached_are_printed_as_a_bound() -> None:
    hits: dict[str, Hits] = {"lumina": (None,) * 3, "qwen": (600, 700, None), "omni": (400, 500, 600)}
    rows = numbers_of(*study(hits, dict.fromkeys(hits, 0.02)), TARGET)
    assert [row.steps_text for row in rows] == ["> 1000 (0 of 3 seeds)", "> 1000; 2 of 3 seeds: 650 ± 71", "500 ± 100"]
    (row,) = numbers_of(*study({"lumina": (None,)}, FINALS), TARGET)
    assert row.steps_text == "> 1000"


def test_the_first_step_below_the_target_counts() -> None:
    assert first_below([(25, 0.02), (50, 0.014), (75, 0.0139), (100, 0.5)], 0.014) == 75
    assert first_below([(25, float("nan"))], 0.014) is None


def test_all_files_are_written_and_agree(tmp_path: Path) -> None:
    plan, results = study(AS_IN_PAPER, FINALS, tmp_path)
    batch = CopyTask().batch(PlaneWaves(), "train", 4, (0,))
    for each in results.runs:
        for step in (100, 1000):
            noisy = batch.target + torch.randn(batch.target.shape) * 0.1
            save_answers(answers(batch, noisy, 2), each.folder / "samples" / f"step_{step:06d}.safetensors")
    ToyReport(TARGET).write(plan, results)
    text, data = (tmp_path / "report.md").read_text(), json.loads((tmp_path / "report.json").read_text())
    assert "| Lumina | (Δ, h, w) | ~2500 | – | > 1000 (0 of 2 seeds) | 0.0300 ± 0.0000 | 0.0200 ± 0.0000 |" in text
    assert "| Ours | (Δ, h, w) | – | – | 300 ± 0 |" in text
    assert data["sentence"] in text
    assert "lightning run toy.yaml" in text
    assert data["rows"]["lumina"]["steps_to_target"] == [None, None]
    assert data["rows"]["lumina"]["step_seconds"] == [pytest.approx(0.04)] * 2
    assert data["rows"]["qwen"]["curves"]["1"]["eval/loss"] == [
        list(p) for p in results.of_row("qwen")[1].curve("eval/loss")
    ]
    for name in ("curves.png", "samples.png"):
        assert f"({name})" in text
        first = (tmp_path / name).read_bytes()
        assert first.startswith(b"\x89PNG")
        ToyReport(TARGET).write(plan, results)
        assert (tmp_path / name).read_bytes() == first


def test_a_study_without_kept_answers_has_no_pictures_of_them(tmp_path: Path) -> None:
    ToyReport().write(*study({"mine": (300,)}, {"mine": 0.01}, tmp_path))
    assert not (tmp_path / "samples.png").exists()
    text = (tmp_path / "report.md").read_text()
    assert "samples.png" not in text
    assert "fewer than two of the paper's rows" in text


@given(values=st.lists(st.floats(-3, 3), max_size=8), gap=st.floats(0.01, 1))
def test_law_labels_are_apart_and_in_order(values: list[float], gap: float) -> None:
    places = apart(values, gap)
    order = sorted(range(len(values)), key=values.__getitem__)
    assert all(places[b] - places[a] >= gap * (1 - 1e-6) for a, b in zip(order, order[1:], strict=False))
    assert sum(places) == pytest.approx(sum(values), abs=1e-6)


def test_a_target_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="got 0"):
        ToyReport(0)
