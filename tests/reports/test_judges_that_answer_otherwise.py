"""A judge that thinks aloud, answers in parts or takes other settings is read as it meant, or named as what it is.

Situation: `omnigen2 evaluate … --judge http://…` or a judged reward, with a server of a model that thinks (`<think>`,
`reasoning_content`), of a commercial one (`max_completion_tokens`, no temperature, content in parts), or with a word
that is no server. A draft inside of thoughts is never a grade.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnigen2.cli import main
from omnigen2.evaluation.judging.letters import read_letter
from omnigen2.microworld import draw, full_vocabulary, sample_context
from omnigen2.microworld.runs import write_micro
from omnigen2.microworld.tasks import CONTEXT_KINDS
from omnigen2.rl import Failure
from omnigen2.rl.rewards.grades import Grades, Rubric, read_grades
from omnigen2.rl.rewards.remote import ChatClient, ChatQuestion, Limits
from tests.rl.loopback import Answer, Asked, chat_answer, loopback

PAIR = Rubric("pair", "Grade.", 2, 0, 25)
GRADES = '{"reasoning": "r", "score": [20, 15]}'


@pytest.mark.parametrize(
    "text",
    [
        f"<think>perhaps [1, 1]? no</think>{GRADES}",
        f'\n<think>\nfirst {{"score": [1, 1]}}\n</think>\n\n```json\n{GRADES}\n```',
        f'a draft {{"score": [1, 1]}} and {{braces}}</think>{GRADES}',
        f"<think></think>{GRADES}",
        f"<THINK>loud</THINK>{GRADES}",
        f"<thinking>of another family</thinking> {GRADES}",
        f"Let me see. <think>x</think> {GRADES}",
        f"◁think▷[1, 1]◁/think▷<answer>{GRADES}</answer>",
        f'[THINK]{{"score": [1, 1]}}[/THINK]{GRADES}',
        f'<seed:think>{{"score": [1, 1]}}</seed:think>{GRADES}',
        f'<reasoning>{{"score": [1, 1]}}</reasoning>{GRADES}',
        f"<think>[1, 1]</think><|begin_of_box|>{GRADES}<|end_of_box|>",
    ],
)
def test_what_is_thought_before_the_answer_is_left_out(text: str) -> None:
    assert read_grades(text, PAIR) == Grades((20, 15), "r")


@pytest.mark.parametrize(
    "text",
    [
        '<think>perhaps {"score": [1, 1]}',
        f'<think>a</think> {GRADES} <think>or {{"score": [1, 1]}}',
        '<think>a</think>b {"score": [1, 1]}</think> I do not know',
        '<think>{"score": [1, 1]}</think>',
        "<think>a <think>b</think> [1, 1]</think>",
        '◁think▷{"score": [1, 1]}',
        '[THINK]{"score": [1, 1]} and more',
    ],
)
def test_a_draft_is_never_a_grade(text: str) -> None:
    found = read_grades(text, PAIR)
    assert isinstance(found, Failure)
    assert found.cause == "unreadable"


@pytest.mark.parametrize("frame", ["<answer>{}</answer>", "<|begin_of_box|>{}<|end_of_box|>", "```json\n{}\n```"])
def test_a_list_in_the_frame_of_a_model_is_its_grades(frame: str) -> None:
    assert read_grades(f"<think>[1, 1]</think>{frame.format('[20, 15]')}", PAIR) == Grades((20, 15), "")


def test_thoughts_before_a_letter_are_left_out() -> None:
    options = {"A": "a cat", "B": "a dog"}
    assert read_letter("<think>Answer: A? no</think>Answer: B", options) == "B"
    assert read_letter("surely (A)</think>B", options) == "B"
    assert read_letter("<think>it is B", options) is None


def message(content: Any, **more: Any) -> dict[str, Any]:
    return {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": content, **more}}]}


VLLM = message("\n\n7", reasoning="1?", reasoning_content="1?", tool_calls=[], audio=None, annotations=None) | {
    "id": "chatcmpl-1", "object": "chat.completion", "usage": {"prompt_tokens_details": None}, "prompt_logprobs": None,
}  # fmt: skip
SGLANG = {
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "7", "reasoning_content": None, "tool_calls": None},
         "logprobs": None, "finish_reason": "stop", "matched_stop": 151645}
    ],
}  # fmt: skip
OPENAI = message("7", refusal=None, annotations=[]) | {"service_tier": "default", "system_fingerprint": None}


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (VLLM, "\n\n7"),
        (SGLANG, "7"),
        (OPENAI, "7"),
        (message([text("7"), text("5")]), "75"),
        (message([{"type": "output_text", "text": "7"}]), "7"),
        (message([{"type": "thinking", "thinking": [text("1")]}, text("7")]), "7"),
        (message([{"type": "reasoning", "text": "1"}, text("7")]), "7"),
        (message("7", reasoning_content="1 or 2", refusal=None), "7"),
        (message("7", refusal=""), "7"),
        (message([{"type": "refusal", "refusal": "no"}]), "refused"),
        (message(None, refusal="I will not."), "refused"),
        (message(None, reasoning_content="so long"), "only thoughts"),
        (message("", reasoning="so long"), "only thoughts"),
        (message(None), "unreadable reply"),
        (message([text("7"), {"type": "image_url", "image_url": {}}]), "unreadable reply"),
        (message([text("7"), 3]), "unreadable reply"),
        (message({"text": "7"}), "unreadable reply"),
        ({"choices": [{"finish_reason": "length", "message": {"content": [text("7")]}}]}, "cut off"),
        ({"choices": [{"finish_reason": "error", "message": {"content": "7"}}]}, "cut off"),
        ({"error": {"message": "overloaded"}}, "unreadable reply"),
        (b'data: {"choices": [{"delta": {"content": "7"}}]}\n\ndata: [DONE]\n\n', "unreadable reply"),
        ({"choices": [None]}, "unreadable reply"),
    ],
)
def test_the_text_of_a_reply_is_found_or_its_absence_named(body: Any, expected: str) -> None:
    with loopback(lambda asked: Answer(body=body)) as server:
        found = ChatClient([server.url], "m", limits=Limits(timeout_s=5)).ask([ChatQuestion("s", ("t",), {})])[0]
    assert (found.cause if isinstance(found, Failure) else found) == expected


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tasks = [sample_context(full_vocabulary(32), np.random.default_rng(0), kind) for kind in CONTEXT_KINDS[:2]]
    folder = tmp_path_factory.mktemp("pictures") / "mine"
    write_micro(folder, tasks, [draw(task.target, 32) for task in tasks])
    return folder


def evaluate(images: Path, out: Path, *more: str) -> int:
    return main(["evaluate", "micro-omnicontext", "--images", str(images), "--out", str(out), *more])


def grade(asked: Asked) -> Answer:
    return Answer(body=chat_answer('{"reasoning": "half a character: \\ud83d", "score": [8]}'))


def without(*fields: str) -> Callable[[Asked], Answer]:
    """A server that refuses some fields, as commercial ones do."""

    def act(asked: Asked) -> Answer:
        for field in fields:
            if field in asked.body:
                other = " Use 'max_completion_tokens' instead." if field == "max_tokens" else ""
                return Answer(400, {"error": {"message": f"Unsupported parameter: '{field}'.{other}", "param": field}})
        return grade(asked)

    return act


def test_a_server_without_temperature_and_max_tokens_is_asked_in_its_words(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with loopback(without("temperature", "max_tokens", "seed")) as server:
        judge = ["--judge", server.url, "--judge_model", "m"]
        assert evaluate(images, tmp_path, *judge) == 2
        assert "try --judge_temperature none" in capsys.readouterr().err
        judge += ["--judge_temperature", "none"]
        assert evaluate(images, tmp_path, *judge) == 2
        assert "try --judge_token_field max_completion_tokens" in capsys.readouterr().err
        judge += ["--judge_token_field", "max_completion_tokens", "--judge_max_tokens", "77"]
        assert evaluate(images, tmp_path, *judge) == 2
        assert "try --judge_seed none" in capsys.readouterr().err
        judge += ["--judge_seed", "none"]
        assert evaluate(images, tmp_path, *judge) == 0
        assert server.asked[-1].body["max_completion_tokens"] == 77
        assert not {"temperature", "seed"} & server.asked[-1].body.keys()
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["protocol"]["temperature"] is None
    assert result["protocol"]["seed"] is None
    assert result["protocol"]["settings"]["token_field"] == "max_completion_tokens"
    assert result["records"][0]["reasons"]["judge"] == "half a character: ? | half a character: ?"
    assert main(["evaluate", "compare", str(tmp_path), str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("response_format is not supported", "--judge_format json_object or text"),
        ('{"type": "extra_forbidden", "loc": ["body", "seed"]}', "--judge_seed none"),  # Mistral
        ('Unknown name "seed": Cannot find field.', "--judge_seed none"),  # Gemini
        ("there is no model seed-1.6-vision", "--judge_model and its key"),
        ("Extra inputs are not permitted: max_completion_tokens", "or max_tokens"),
        ("unknown model", "--judge_model and its key"),
    ],
)
def test_a_trial_that_fails_is_told_in_the_options_of_the_command(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], said: str, remedy: str
) -> None:
    with loopback(lambda asked: Answer(400, {"error": said})) as server:
        assert evaluate(images, tmp_path, "--judge", server.url, "--judge_model", "m") == 2
    told = capsys.readouterr().err
    assert remedy in told
    assert "settings." not in told


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("ruls", "did you mean rules?"),
        ("Rules", "`rules`"),
        ("127.0.0.1:8000", "did you mean http://127.0.0.1:8000?"),
        ("localhost:8000/v1", "did you mean http://localhost:8000/v1?"),
        ("htp://judge.example/v1", "did you mean http://judge.example/v1?"),
        ("verdicts.jsonl", "there is no such file"),
    ],
)
def test_a_judge_that_is_none_is_named_with_what_can_be_one(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, told: str
) -> None:
    assert evaluate(images, tmp_path, "--judge", word) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--judge_temperature abc", "--judge_temperature: expected float or 'none', got abc"),
        ("--judge_seed 1.5", "--judge_seed: expected int or 'none', got 1.5"),
        ("--judge_temperature 3", "--judge_temperature must be none or from 0 to 2, got 3.0"),
        ("--judge_passes 0", "--judge_passes must be at least 1, got 0"),
        ("--judge_image_side 0", "--judge_image_side must be at least 1, got 0"),
        ("--judge_max_tokens 0", "--judge_max_tokens must be at least 1, got 0"),
        ("--judge_timeout 0", "--judge_timeout must be above 0, got 0.0"),
        ("--judge_key_variable NO_SUCH_KEY", "leave --judge_key_variable out"),
        ("--tolerance -1", "--tolerance must be at least 0, got -1.0"),
        ("--batch_size 0", "--batch_size must be at least 1, got 0"),
        ("--max_new_tokens 0", "--max_new_tokens must be at least 1, got 0"),
    ],
)
def test_numbers_that_mean_nothing_are_told_by_their_options(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, told: str
) -> None:
    assert evaluate(images, tmp_path / "out", "--judge", "rules", *words.split()) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_options_of_drawing_without_a_model_are_noticed_and_a_file_is_no_folder_of_reports(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(images, tmp_path / "out", "--judge", "rules", "--steps", "5") == 0
    assert "note: nothing is drawn without --model" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert evaluate(images, tmp_path / "file", "--judge", "rules") == 2
    assert "file is a file" in capsys.readouterr().err
    assert main(["evaluate", "compare", str(tmp_path / "out"), str(tmp_path / "out"), "--seed", "-1"]) == 2
    assert "a seed of at least 0" in capsys.readouterr().err
