"""Parts of reinforcement learning: shared prompts, merged adapters, prompts from files, guards, the report."""

import json
import random
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from omnigen2.adapters.lora import LoRA, adapters_disabled
from omnigen2.data import DataError
from omnigen2.generate.branches import BRANCHES, PackedBranches
from omnigen2.microworld.reports.ablation import COLUMNS, Ablation
from omnigen2.microworld.runs.prompts import MicroPrompts
from omnigen2.rl import Failure, Judgement, Scores, group_advantages
from omnigen2.runner.reports.study import CellResult, Row, StudyResult
from omnigen2.training.alignment.guards import InvalidRewardGuard, RewardHackingGuard
from omnigen2.training.alignment.metrics import IterationReport
from omnigen2.training.alignment.policy import GroupBranches, encode_prompts, even_parts
from omnigen2.training.alignment.prompts import JsonlPrompts
from omnigen2.training.alignment.scoring import Scored
from omnigen2.training.parts.model_folder import save_plain_transformer
from omnigen2.training.parts.transformer_part import TransformerPart
from tests.training.flow_parts import CONFIG, wake
from tests.training.grpo_parts import grpo, prompts, weights


@pytest.mark.parametrize("branches", [1, 3])
def test_pictures_that_share_their_prompt_are_as_if_each_had_its_own(branches: int) -> None:
    model = wake(grpo())
    examples = [prompts(asked={family: 1.0}).prompt(0) for family in ("edit", "text_to_image", "in_context")]
    samples = [sample for sample in encode_prompts(model.encoder, examples) for _ in range(2)]
    apart = tuple(encode_prompts(model.encoder, [example for example in examples for _ in range(2)]))
    rows = branches * sum(target.tokens for target in PackedBranches(model.dit, apart, BRANCHES[1]).targets)
    x_t = torch.randn(rows // branches, model.dit.config.patch_channels).repeat(branches, 1)
    t = torch.full((branches * len(apart),), 0.3)
    with torch.no_grad():
        alone = PackedBranches(model.dit, apart, BRANCHES[branches])
        expected = alone(x_t, t)
        for keep in (True, False):
            shared = GroupBranches(model.dit, tuple(samples), BRANCHES[branches], keep)
            torch.testing.assert_close(shared(x_t, t), expected, atol=1e-5, rtol=1e-4)
            assert (
                shared.inputs.layout.tokens < PackedBranches(model.dit, apart, BRANCHES[branches]).inputs.layout.tokens
            )


@pytest.mark.parametrize("keep", [True, False])
def test_a_companion_changes_no_velocity_and_reaches_every_parameter(keep: bool) -> None:
    model = wake(grpo())
    (sample,) = encode_prompts(model.encoder, [prompts(asked={"text_to_image": 1.0}).prompt(0)])
    samples = (sample, sample)
    alone = GroupBranches(model.dit, samples, BRANCHES[2], keep)
    beside = GroupBranches(model.dit, samples, BRANCHES[2], keep, companion=True)
    x_t, t = torch.randn(4 * 16, model.dit.config.patch_channels), torch.full((4,), 0.4)
    x_t[32:] = x_t[:32]
    torch.testing.assert_close(beside(x_t, t), alone(x_t, t), atol=1e-5, rtol=1e-4)
    beside(x_t, t).sum().backward()
    without = [name for name, value in model.dit.named_parameters() if value.grad is None and "index" not in name]
    assert not without


def test_parts_are_split_until_there_are_enough() -> None:
    for least in range(1, 7):
        found = even_parts([range(0, 5), range(5, 6)], least)
        assert len(found) == max(least, 2)
        assert [number for part in found for number in part] == list(range(6))
        assert all(found)


def test_merged_adapters_answer_as_adapters_do(tmp_path: Path) -> None:
    model = wake(grpo(part=TransformerPart(CONFIG, lora=LoRA(rank=2, alpha=6))))
    save_plain_transformer(model.dit, tmp_path)
    plain = grpo(part=TransformerPart(), weights=str(tmp_path))
    plain.configure_model()
    samples = tuple(encode_prompts(model.encoder, [prompts(asked={"edit": 1.0}).prompt(0)]))
    x_t, t = torch.randn(16, model.dit.config.patch_channels), torch.tensor([0.3])
    with torch.no_grad():
        found = GroupBranches(plain.dit, samples, BRANCHES[1], keep=False)(x_t, t)
        adapted = GroupBranches(model.dit, samples, BRANCHES[1], keep=False)
        torch.testing.assert_close(found, adapted(x_t, t), atol=1e-5, rtol=1e-4)
        with adapters_disabled(model.dit):
            assert not torch.allclose(found, adapted(x_t, t), atol=1e-4)
    assert weights(plain).keys() == {name for name in weights(grpo_plain())}


def grpo_plain() -> Any:
    model = grpo()
    model.configure_model()
    return model


def test_prompts_depend_on_their_number_alone() -> None:
    first, second = prompts(), prompts()
    for number in (5, 0, 5):
        assert first.prompt(number).meta == second.prompt(number).meta
    assert len({first.prompt(number).meta for number in range(16)}) == 16
    letters = MicroPrompts(16, 1, {"letters": 1.0}, multiple=4).prompt(0)
    assert json.loads(letters.meta)["task"] == "glyphs"


def test_prompts_of_files(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    line = {"tag": "counting", "include": [{"class": "cat", "count": 2}], "prompt": "two cats"}
    edit = {"task_type": "edit", "instruction": "make it red", "input_images": ["a.png"], "output_image": None}
    (tmp_path / "p.jsonl").write_text(f"{json.dumps(line)}\n\n{json.dumps(edit)}\n")
    data = JsonlPrompts([str(tmp_path / "p.jsonl")], 1, (32, 64))
    assert data.prompts == 2
    drawn, edited = data.prompt(0), data.prompt(1)
    assert (drawn.task, drawn.instruction, json.loads(drawn.meta)) == ("text_to_image", "two cats", line)
    assert drawn.target is not None
    assert drawn.target.shape == (3, 32, 64)
    assert edited.target is not None
    assert edited.target.shape == edited.references[0].shape == (3, 48, 64)
    (tmp_path / "q.jsonl").write_text('{"prompt": "x"}\n')
    with pytest.raises(DataError, match="q.jsonl:1 has the fields prompt; expected"):
        JsonlPrompts([str(tmp_path / "q.jsonl")], 1).prompt(0)
    with pytest.raises(DataError, match="there is no file of prompts"):
        _ = JsonlPrompts([str(tmp_path / "none.jsonl")], 1).prompts


@pytest.mark.parametrize("between", ["\u2028", "\x85"])
def test_a_prompt_may_have_separators_that_end_no_line(between: str, tmp_path: Path) -> None:
    line = {"task_type": "t2i", "instruction": f"one{between}two"}
    text = json.dumps(line, ensure_ascii=False)
    (tmp_path / "p.jsonl").write_text(f"{text}\n{text}\n", encoding="utf-8")
    data = JsonlPrompts([str(tmp_path / "p.jsonl")], 1, (32, 64))
    assert [data.prompt(number).instruction for number in range(data.prompts)] == [f"one{between}two"] * 2


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"task_type": "edit", "instruction": "x", "input_images": [1]}', "p.jsonl:1 has the fields"),
        (
            b'{"task_type": "t2i", "instruction": "x", "meta": {"tag": 1}}',
            "p.jsonl:1 has meta {'tag': 1}, expected text",
        ),
        (b"\xff", "is no UTF-8"),
    ],
)
def test_prompts_that_cannot_be_read_are_refused(line: bytes, problem: str, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_bytes(line)
    with pytest.raises(DataError, match=problem):
        JsonlPrompts([str(tmp_path / "p.jsonl")], 1, (32, 64)).prompt(0)


def report(iteration: int, trained: float, watched: float) -> IterationReport:
    value = torch.tensor([trained, trained])
    scores = Scores(value, torch.ones(2, dtype=torch.bool), {}, (None, None), ("", ""))
    scored = Scored(("edit", "edit"), scores, {"honest": torch.tensor([watched, watched])})
    return IterationReport(iteration, scored, group_advantages(value, [0, 0]))


@pytest.mark.parametrize(("pictures", "invalid", "most"), [(10, 3, 0.3), (10, 1, 0.1), (5, 1, 0.2), (7, 0, 0.0)])
def test_as_many_invalid_rewards_as_are_put_up_with_do_not_stop(pictures: int, invalid: int, most: float) -> None:
    for failures, stops in ((invalid, False), (invalid + 1, True)):
        outcomes = [Failure("unreadable")] * failures + [Judgement(1.0)] * (pictures - failures)
        scores = Scores.collect(outcomes)
        advantages = group_advantages(scores.value, [0] * pictures, scores.valid)
        found = IterationReport(0, Scored(("edit",) * pictures, scores, {}), advantages)
        assert (InvalidRewardGuard(most).verdict(found) is not None) == stops


@pytest.mark.parametrize(("rise", "fall", "expected"), [(0.1, -0.1, True), (0.1, 0.1, False), (-0.1, -0.1, False)])
def test_hacking_is_a_rise_of_the_trained_and_a_fall_of_the_watched(rise: float, fall: float, expected: bool) -> None:
    guard = RewardHackingGuard(window=3, stop=True)
    words = []
    for iteration in range(6):
        jitter = 0.001 * (iteration % 2)
        late = iteration >= 3
        words.append(guard.verdict(report(iteration, 0.5 + rise * late + jitter, 0.5 + fall * late + jitter)))
        again = RewardHackingGuard(window=3, stop=True)
        again.load_state_dict(guard.state_dict())
        guard = again
    assert words[:5] == [None] * 5
    assert (words[5] is not None and "while honest fell" in words[5]) == expected


@pytest.mark.parametrize("unknown", [0, 4])
def test_hacking_is_seen_though_a_reward_was_not_known_at_times(unknown: int) -> None:
    guard = RewardHackingGuard(window=3, stop=True)
    words = [
        guard.verdict(report(i, 0.4 + 0.1 * (i >= 3), float("nan") if i == unknown else 0.5 - 0.1 * (i >= 3)))
        for i in range(6)
    ]
    assert words[:5] == [None] * 5
    assert "while honest fell" in str(words[5])


def test_an_iteration_that_is_drawn_again_counts_once() -> None:
    guard, again = RewardHackingGuard(window=2), RewardHackingGuard(window=2)
    for iteration in range(3):
        guard.verdict(report(iteration, 0.1 * iteration, 0.5))
    again.verdict(report(0, 0.0, 0.5))
    again.verdict(report(1, 0.7, 0.9))  # stopped after it, by another guard
    for iteration in (1, 2):
        again.verdict(report(iteration, 0.1 * iteration, 0.5))
    assert again.state_dict() == guard.state_dict()


def cell(folder: Path, row: str, seed: int, values: dict[str, float], rewards: list[float], tasks: int) -> CellResult:
    own = folder / row / f"seed_{seed}"
    own.mkdir(parents=True)
    exact: dict[str, list[int]] = {}
    for title, value in values.items():
        levels = random.Random(title)  # how hard the tasks are: a better model does what a worse one does, and more
        luck = random.Random(f"{row} {seed}")
        exact[title] = [int(levels.random() + luck.uniform(-0.1, 0.1) < value) for _ in range(tasks)]
    content = {
        "model": {COLUMNS[title]: fmean(done) for title, done in exact.items()},
        "exact": {COLUMNS[title].split("/")[0]: done for title, done in exact.items()},
    }
    (own / "scores.json").write_text(json.dumps(content))
    lines = ["step,epoch,reward/mean", *(f"{n},0,{value}" for n, value in enumerate(rewards))]
    (own / "metrics.csv").write_text("\n".join(lines) + "\n")
    return CellResult(row, seed, own, (), {})


@pytest.mark.parametrize(("tasks", "decided"), [(1000, True), (5, False)])
def test_the_report_says_what_the_numbers_say(tasks: int, decided: bool, tmp_path: Path) -> None:
    made = {
        "base": (0.3, 0.3, 0.3), "edit": (0.3, 0.5, 0.3), "geneval": (0.5, 0.3, 0.3), "ocr": (0.2, 0.2, 0.2),
        "edit_geneval": (0.6, 0.6, 0.3), "edit_preference": (0.1, 0.2, 0.1),
        "edit_geneval_incontext": (0.6, 0.6, 0.6), "geneval_edit_incontext": (0.6, 0.6, 0.6),
        "edit_incontext_geneval": (0.2, 0.2, 0.2), "incontext": (0.3, 0.3, 0.1),
    }  # fmt: skip
    cells = [
        cell(
            tmp_path,
            row,
            seed,
            {"GenEval": a, "edit exact": b, "in-context exact": c},
            [0.1 * step + 0.01 * seed for step in range(8)],
            tasks,
        )
        for row, (a, b, c) in made.items()
        for seed in (0, 1)
    ]
    rows = tuple(Row(name, name, {"paper": {"GenEval": 0.9}} if name == "base" else {}) for name in made)
    result = StudyResult("rl", rows, (0, 1), tuple(cells), "lightning run x", 60.0, 1, {}, {})
    Ablation().write(result, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert json.loads((tmp_path / "report.json").read_text())["tasks"]["edit exact"] == tasks
    if not decided:  # so few tasks say nothing, whatever the seeds agree on
        assert "Edit and GenEval help each other: **undecided**" in text
        assert "appear" not in text.split("## Findings")[1].replace("undecided", "")
        return
    assert "Edit and GenEval help each other: **appears**" in text
    assert "does not help the other tasks: **appears**" in text
    assert "hacked: its reward rises while the honest scores fall: **appears**" in text
    assert "in-context is better than the others: **undecided**" in text
    assert "Edit alone does more for in-context tasks than their own reward: **appears**" in text
    assert "GenEval (paper)" in text
    assert (tmp_path / "rewards.png").is_file()
    one = StudyResult("rl", rows, (0,), tuple(c for c in cells if c.seed == 0), "lightning run x", 60.0, 1, {}, {})
    Ablation().write(one, tmp_path)
    assert "**appears**" not in (tmp_path / "report.md").read_text().split("help each other")[1]
