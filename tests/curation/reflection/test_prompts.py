"""Files of prompts, and answers of chat servers."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.curation import CurationError
from omnigen2.curation.reflection import ChatReflector, Prompt, Shown, Unjudged, Verdict, read_prompts
from omnigen2.curation.reflection.chat import read_verdict
from tests.curation.asked import answering, texts_of

GOOD = {"problems": ["it is  blue"], "changes": ["make it red"], "edit": "make the cube\nred", "score": 4}


def test_text_files_and_json_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a red cube\n\n  two dogs \r\na red cube\n", encoding="utf-8-sig")
    cube, dogs = read_prompts(tmp_path / "a.txt", 0, 8, 16)
    assert (cube.text, dogs.text, cube.height, cube.width) == ("a red cube", "two dogs", 8, 16)
    lines = [{"prompt": "two dogs"}, {"prompt": "a red cube", "meta": "m"}, {"prompt": "x", "seed": 3, "width": 4}]
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, lines)))
    again, told, own = read_prompts(tmp_path / "b.jsonl", 0, 8, 16)
    assert again == dogs  # whatever its line
    assert told.seed != cube.seed
    assert own == Prompt("x", 3, 8, 4)
    assert {one.key for one in read_prompts(tmp_path / "a.txt", 1, 8, 16)}.isdisjoint({cube.key, dogs.key})


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.txt", None, "no file of prompts"),
        ("a.csv", "a", "no file of prompts"),
        ("a.txt", "\n \n", "has no prompts"),
        ("a.txt", b"\xff\xfe", "no UTF-8"),
        ("a.jsonl", '{"prompt": " "}', "line 1 has prompt"),
        ("a.jsonl", '{"prompt": "a", "steps": 3}', "known are prompt"),
        ("a.jsonl", '{"prompt": "a"}\n{"prompt": "a", "seed": -1}', "line 2 has seed"),
    ],
)
def test_files_that_are_wrong_are_refused(tmp_path: Path, name: str, content, problem: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CurationError, match=problem):
        read_prompts(tmp_path / name, 0, 8, 8)


def test_a_server_is_shown_the_picture_and_the_prompt() -> None:
    shown = Shown(Prompt("a red cube", 0, 8, 8), torch.zeros(3, 8, 8))
    with answering({"colour": "grey"}, GOOD, '{"problems": [], "changes": [], "edit": "", "score": 9.5}') as (
        server,
        told,
    ):
        judge = ChatReflector(server)
        judge.check([shown.prompt])
        wrong, right = judge.judge([shown, shown])
        assert texts_of(told.asked[1]) == ["Picture:", "Instruction: a red cube"]
    assert wrong == Verdict(4.0, ("it is blue",), ("make it red",), "make the cube red")
    assert wrong.answer == "it is blue\nmake it red"
    assert isinstance(right, Verdict)
    assert right.right
    assert judge.by.startswith("tiny: temperature 0.0, seed 0, json_schema, side 768, words ")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"problems": []}, "contradicts itself"),
        ({"edit": " "}, "contradicts itself"),
        ({"problems": [], "changes": [], "edit": "", "score": 11}, "cannot be read"),
        ({"score": True}, "cannot be read"),
        ({"problems": "none"}, "cannot be read"),
        ({"changes": [1]}, "cannot be read"),
        ({"edit": "x" * 1001}, "too long"),
    ],
)
def test_answers_that_are_no_verdict(changed: dict, reason: str) -> None:
    said = read_verdict(json.dumps({**GOOD, **changed}))
    assert isinstance(said, Unjudged)
    assert reason in said.reason
    assert not said.transient


texts = st.text(max_size=4)
values = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 11), st.floats(), texts, st.lists(texts | st.none(), max_size=2)
)


@given(st.fixed_dictionaries({name: values | st.just(value) for name, value in GOOD.items()}))
def test_any_answer_is_a_verdict_or_none(fields: dict) -> None:
    said = read_verdict(json.dumps(fields))
    json.dumps(getattr(said, "answer", ""), ensure_ascii=False).encode()
    if isinstance(said, Verdict):
        assert said.right == (not any(fields["problems"]))
        assert 0 <= said.score <= 10


def test_a_line_ends_where_all_lines_end(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a poster:\u2028Be kind\nplain\n", encoding="utf-8")
    assert [prompt.text for prompt in read_prompts(tmp_path / "a.txt", 0, 8, 16)] == ["a poster:\u2028Be kind", "plain"]
