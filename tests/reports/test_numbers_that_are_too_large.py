"""A size of 10^30 pixels, an endless answer, a list of 10^30 jobs: the command hung, or ended with a traceback.

Sizes, counts and strengths have an upper limit that is told, in options, in files of jobs and in Python; what is
infinite or no number is none.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from omnigen2.data import ByteLength, OptimizeSettings, TokenBudget, contact_sheet
from omnigen2.encoders import PromptRules, QwenEncoder
from omnigen2.errors import UserError
from omnigen2.generate import Request, Sampling
from omnigen2.training.alignment import JsonlPrompts
from omnigen2.training.flow_matching import ImageData
from omnigen2.training.flow_matching.data_parts import DataPart
from omnigen2.training.parts import StepLoader
from tests.commands.conftest import Shell
from tests.data.cases import picture, t2i, write_jsonl
from tests.training.exchange_parts import data as exchanges

HUGE = 10**30
GENERATE = "generate --model MODEL --prompt x --out o.png --dry_run"
EVALUATE = "evaluate micro-edit --images tasks --judge rules"
OPTIONS = {
    f"{GENERATE} --height {HUGE} --width {HUGE}": "height",
    f"{GENERATE} --num_images {HUGE}": "num_images",
    f"{GENERATE} --num_images 1000000": "num_images",
    f"{GENERATE} --batch_size {HUGE}": "batch_size",
    f"{GENERATE} --text_scale 1e30": "text_scale",
    f"{GENERATE} --image_scale 1e10": "image_scale",
    f"{GENERATE} --time_shift 1e400": "time_shift",
    f"{GENERATE} --seed {HUGE}": "seed",
    f"chat --model MODEL --message x --max_new_tokens {HUGE}": "max_new_tokens",
    "chat --model MODEL --message x --max_new_tokens 200000": "max_new_tokens",
    "chat --model MODEL --message x --temperature 101": "temperature",
    f"{EVALUATE} --batch_size {HUGE}": "batch_size",
    f"{EVALUATE} --judge_passes {HUGE}": "judge_passes",
    f"{EVALUATE} --judge_image_side {HUGE}": "judge_image_side",
    f"{EVALUATE} --judge_concurrency 100000": "judge_concurrency",
    f"{EVALUATE} --judge_max_tokens {HUGE}": "judge_max_tokens",
    f"{EVALUATE} --judge_seed {HUGE}": "judge_seed",
    f"{EVALUATE} --judge_timeout 1e400": "judge_timeout",
    f"{EVALUATE} --tolerance 1e400": "tolerance",
    f"evaluate compare a b --resamples {HUGE}": "resamples",
    f"data optimize d.jsonl out --threads {HUGE}": "threads",
    "data optimize d.jsonl out --threads 5000": "threads",
    "data optimize d.jsonl out --chunk_mb 1e400": "chunk_mb",
    "data optimize d.jsonl out --chunk_mb 1e9": "chunk_bytes",
    f"data optimize d.jsonl out --template {HUGE}": "template",
    f"data optimize d.jsonl out --max_text {HUGE}": "max_text",
    f"data optimize d.jsonl out --vae v --reference_pixels 65536,{HUGE}": "reference_pixels",
    f"data inspect d.jsonl --each {HUGE}": "each",
    f"microworld tasks out --count {HUGE}": "count",
    f"make-tiny out --seed {HUGE}": "seed",
    f"reward serve r.yaml --port {HUGE}": "port",
}


@pytest.mark.parametrize("command", OPTIONS)
def test_an_option_that_is_too_large_is_told_by_its_name(command: str, shell: Shell) -> None:
    words = [str(shell.model) if word == "MODEL" else word for word in command.split()]
    problem, _ = shell.refused(*words)
    assert OPTIONS[command] in problem
    assert len(problem) < 200
    assert [path.name for path in shell.folder.iterdir()] == []


@pytest.mark.parametrize("value", ["-1", ".inf", ".nan", "1e400"])
def test_a_number_of_a_job_file_is_finite(value: str, shell: Shell) -> None:
    (shell.folder / "job.yaml").write_text(f"text_scale: {value}\n")
    words = f"generate --model {shell.model} --prompt x --out o.png --dry_run --config job.yaml"
    assert "text_scale" in shell.refused(*words.split())[0]


@pytest.mark.parametrize(
    "change", [{"height": HUGE, "width": HUGE}, {"steps": HUGE}, {"text_scale": HUGE}, {"seed": HUGE}, {"width": 16.5}]
)
def test_a_line_of_a_job_file_is_named(change: dict[str, Any], shell: Shell) -> None:
    (shell.folder / "jobs.jsonl").write_text(json.dumps({"prompt": "a"}) + "\n" + json.dumps({"prompt": "b"} | change))
    words = f"generate --model {shell.model} --from_file jobs.jsonl --out pictures --dry_run"
    problem, _ = shell.refused(*words.split())
    assert "jobs.jsonl, line 2" in problem
    assert next(iter(change)) in problem


SETTINGS: dict[str, Callable[[], Any]] = {
    "height": lambda: Request(prompt="x", height=HUGE, width=HUGE),
    "width": lambda: Request(prompt="x", height=16, width=2**14),
    "text_scale": lambda: Sampling(text_scale=2e9),
    "time_shift": lambda: Sampling(time_shift=1e30),
    "max_tokens": lambda: PromptRules(max_tokens=HUGE),
    "limit": lambda: ByteLength(limit=HUGE),
    "template": lambda: ByteLength(template=HUGE),
    "tokens of a budget": lambda: TokenBudget(HUGE),
    "max_samples of a budget": lambda: TokenBudget(1, max_samples=HUGE),
    "chunk_bytes": lambda: OptimizeSettings(chunk_bytes=HUGE),
    "threads": lambda: OptimizeSettings(threads=HUGE),
    "each": lambda: contact_sheet({}, HUGE, 0, OptimizeSettings().reader),
    "steps of ImageData": lambda: ImageData({"a": DataPart("a")}, HUGE, TokenBudget(1)),
    "steps of JsonlPrompts": lambda: JsonlPrompts(["a"], HUGE),
    "steps": lambda: StepLoader(lambda step: step, HUGE),
    "evaluation_size": lambda: exchanges(evaluation_size=HUGE),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_that_is_too_large_is_told_by_its_name(name: str) -> None:
    with pytest.raises(UserError, match=rf"^{name} is \d.*\n  expected at most \d"):
        SETTINGS[name]()


@pytest.mark.parametrize(("tokens", "temperature"), [(HUGE, 0.0), (1, float("nan")), (1, float("inf"))])
def test_an_answer_has_an_end_and_a_temperature(tokens: int, temperature: float) -> None:
    with pytest.raises(UserError, match="^(max_new_tokens|temperature) is .*\n  expected at most"):
        QwenEncoder.answer(None, [], tokens, temperature)  # type: ignore[arg-type]  # refused before it is used


def test_a_seed_below_zero_is_told(shell: Shell) -> None:
    (shell.folder / "a.png").write_bytes(picture())
    write_jsonl(shell.folder / "d.jsonl", [t2i("a.png")])
    assert "a seed from 0: -1" in shell.refused("data", "inspect", "d.jsonl", "--seed=-1")[0]
