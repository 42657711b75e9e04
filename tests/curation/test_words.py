"""Steps that ask a server: what they ask, what answers mean, and that nothing is made up where there is none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from omnigen2.curation import CurationError, Frame, Item, OpenClip, Step, Subject, through
from omnigen2.curation.steps import (
    DescribeInContext,
    DescribeInContextEdit,
    JudgeKept,
    JudgeTracks,
    NameSubjects,
    Recaption,
    Server,
    WriteInstruction,
)
from omnigen2.rl.rewards.remote import AnswerSettings
from tests.curation.asked import answering, folder_of, frames_of, texts_of
from tests.rl.loopback import Answer


def said(instruction: str = "make the cat jump", usable: bool = True, problem: str = "") -> dict[str, Any]:
    return {"usable": usable, "instruction": instruction, "problem": problem}


UNREADABLE = "an answer that cannot be read"
WRITTEN = [
    (said(), None),
    (said("  make\nthe cat   jump "), None),
    ('```json\n{"usable": true, "instruction": "make the cat jump", "problem": ""}\n```', None),
    (said(usable=False, problem="too dark"), "the model finds no instruction"),
    (said(" "), "the model gave an empty instruction"),
    (said("x" * 1001), "the instruction is too long"),
    ('{"usable": true', UNREADABLE),
    ('{"usable": "yes", "instruction": "a", "problem": ""}', UNREADABLE),
    ('Sure! {"usable": true, "instruction": "a", "problem": ""}', UNREADABLE),
    ('{"usable": true, "usable": true, "instruction": "a", "problem": ""}', UNREADABLE),
    ('{"usable": true, "instruction": "half \\ud83d", "problem": ""}', UNREADABLE),
]


def test_answers_are_read_and_not_repaired(tmp_path: Path) -> None:
    clip = folder_of(tmp_path)
    items = [Item(str(number), frames=frames_of(clip, 10, 200)) for number in range(len(WRITTEN))]
    with answering(*(answer for answer, _ in WRITTEN)) as (server, served):
        kept, ended, _ = through("words", WriteInstruction(server), items, clip)
        assert texts_of(served.asked[0]) == ["Before:", "After:"]
        schema = served.asked[0].body["response_format"]["json_schema"]["schema"]
        assert schema["required"] == ["usable", "instruction", "problem"]
    assert {item.instruction for item in kept} == {"make the cat jump"}
    assert {item.key: None for item in kept} | {end.item.key: end.reason for end in ended} == {
        str(number): reason for number, (_, reason) in enumerate(WRITTEN)
    }
    assert all(len(item.made["words"]["answers"]) == 1 and item.made["words"]["model"] == "tiny" for item in kept)
    assert all(end.item.made["words"]["answers"] and not end.transient for end in ended)


@pytest.mark.parametrize(
    ("answers", "reason", "transient"),
    [
        ([Answer(status=503)] * 2, "no answer", True),
        ([Answer(status=400), Answer(status=503)], "status 400", False),
        ([Answer(status=503), said()], "no answer", True),
    ],
)
def test_a_silent_server_is_not_the_fault_of_an_item(
    tmp_path: Path, answers: list[Any], reason: str, transient: bool
) -> None:
    clip = folder_of(tmp_path)
    item = Item(frames=frames_of(clip, 1, 2, 3))
    with answering(*answers) as (server, _):
        _, (end,), _ = through("judge", JudgeKept(server), [item], clip)
    assert (end.reason, end.transient) == (reason, transient)


def test_a_server_is_tried_before_the_first_clip() -> None:
    fields = {"settings": AnswerSettings(answer_format="text")}
    with answering({"colour": "grey"}, "grey", Answer(status=404)) as (server, served):
        replace(server, **fields).check()
        assert '"required": ["colour"]' in served.asked[0].body["messages"][0]["content"]
        for told in ("cannot be read: grey", "status 404"):
            with pytest.raises(CurationError, match=f"the model tiny gave no answer to a trial question .*{told}"):
                WriteInstruction(server).check()


@pytest.mark.parametrize(
    ("names", "outcome"),
    [
        (["the red ball", " the  dog"], ("the red ball", "the dog")),
        (["a", "b", "c", "d"], ("a", "b", "c")),
        ([], "no subject is named"),
        (["the dog", "man-1"], "a name that is no short noun phrase"),
        (["the dog, which sits"], "a name that is no short noun phrase"),
        (["a dog that sits on a red sofa"], "a name that is no short noun phrase"),
        ([""], "a name that is no short noun phrase"),
        (["the dog", "The dog"], "a name that is there twice"),
        (["the dog", 2], UNREADABLE),
        ("the dog", UNREADABLE),
    ],
)
def test_subjects_are_named_by_short_noun_phrases(tmp_path: Path, names: Any, outcome: Any) -> None:
    clip = folder_of(tmp_path)
    with answering({"names": names}) as (server, _):
        kept, ended, _ = through("names", NameSubjects(server), [Item(frames=frames_of(clip, 1, 2))], clip)
    found = tuple(subject.name for subject in kept[0].subjects) if kept else ended[0].reason
    assert found == outcome


def tracked(clip: OpenClip, names: str) -> Item:
    """Two frames, and a mask of one pixel's width for each subject."""
    masks: list[Frame] = []
    for column in range(len(names)):
        mask = Image.new("L", (16, 12))
        mask.paste(255, (column, 4, column + 1, 8))
        mask.save(clip.folder / f"{column}.png")
        masks.append(Frame(0.0, f"{column}.png"))
    subjects = tuple(Subject(name, masks=(mask, mask)) for name, mask in zip(names, masks, strict=True))
    return Item(frames=frames_of(clip, 1, 2), subjects=subjects)


def same(*verdicts: Any) -> list[dict[str, Any]]:
    return [{"reason": "", "same": verdict} for verdict in verdicts]


def test_what_is_another_thing_later_is_no_subject_any_more(tmp_path: Path) -> None:
    clip = folder_of(tmp_path)
    with answering(*same(True, False), *same(False, False), *same(True, "yes")) as (server, served):
        item = tracked(clip, "ab")
        kept, ended, _ = through("same", JudgeTracks(server, margin=0.5), [item, item, item], clip)
        assert texts_of(served.asked[1]) == ["Name: b\nEarlier:", "Later:"]
        assert len(served.asked) == 6
    assert [[subject.name for subject in one.subjects] for one in kept] == [["a"]]
    assert kept[0].made["same_thing"]["others"] == ["b"]
    assert [end.reason for end in ended] == ["another thing was followed", UNREADABLE]
    Image.new("L", (16, 12)).save(tmp_path / "1.png")
    with answering(*same(True, True)) as (server, _):
        _, (end,), _ = through("same", JudgeTracks(server), [item], clip)
    assert end.reason == "error"
    assert "no mask of 'b'" in end.detail


def graded(composition: Any, consistency: Any, quality: Any) -> dict[str, Any]:
    return {"reason": "", "composition": composition, "consistency": consistency, "quality": quality}


@pytest.mark.parametrize(
    ("grades", "reason"),
    [
        ([graded(5, 9, 10), graded(10, 5, 6)], None),
        ([graded(5, 9, 10), graded(10, 4, 6)], "the judge finds another subject"),
        ([graded(4, 9, 10), graded(10, 4, 6)], "the judge finds the composition too poor"),
        ([graded(9, 9, 10), graded(10, 9, 11)], UNREADABLE),
        ([graded(9, 9, True), graded(10, 9, 10)], UNREADABLE),
        ([graded(9, 9, 9.5), graded(10, 9, 10)], UNREADABLE),
    ],
)
def test_the_lowest_grade_counts(tmp_path: Path, grades: list[Any], reason: str | None) -> None:
    clip = folder_of(tmp_path)
    with answering(*grades) as (server, _):
        kept, ended, _ = through("judge", JudgeKept(server), [Item(frames=frames_of(clip, 1, 2, 3))], clip)
    assert [end.reason for end in ended] == ([] if reason is None else [reason])
    scores = (kept[0] if kept else ended[0].item).scores
    assert reason == UNREADABLE or scores == {
        score: min(grade[score] for grade in grades) for score in ("composition", "consistency", "quality")
    }


NAMED = "put the dog from image 1 beside the cat from Image 2"


@pytest.mark.parametrize("kind", [DescribeInContext, DescribeInContextEdit])
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (NAMED, None),
        (f"{NAMED} and the cow from image 3", "the instruction names a picture that is not given"),
        ("put the dog from image 1 beside a cat", "the instruction does not name every picture"),
        ("put the dog from image 1 beside the cat from image 22", "the instruction names a picture that is not given"),
    ],
)
def test_instructions_name_every_given_picture_by_its_number(
    tmp_path: Path, kind: type[DescribeInContext], words: str, reason: str | None
) -> None:
    clip = folder_of(tmp_path)
    answer = {**said(words), "subjects": ["a dog", "a cat"], "caption": "a dog and a cat"}
    with answering(answer) as (server, served):
        kept, ended, _ = through("words", kind(server), [Item(frames=frames_of(clip, 1, 2, 3))], clip)
        assert texts_of(served.asked[0])[:2] == ["Image 1:", "Image 2:"]
    assert [end.reason for end in ended] == ([] if reason is None else [reason])
    assert [item.instruction for item in kept] == ([words] if reason is None else [])


def test_a_picture_gets_a_caption(tmp_path: Path) -> None:
    clip = folder_of(tmp_path)
    answers = [{"usable": True, "caption": "a grey wall", "problem": ""}, said()]
    with answering(*answers) as (server, _):
        item = Item(frames=frames_of(clip, 1))
        kept, ended, _ = through("words", Recaption(server), [item, item], clip)
    assert [one.instruction for one in kept] == ["a grey wall"]
    assert [end.reason for end in ended] == [UNREADABLE]


def test_steps_of_one_server_are_checked_once() -> None:
    server, other = Server(("http://127.0.0.1:1",), "a"), Server(("http://127.0.0.1:1",), "b")
    steps: list[Step] = [WriteInstruction(server), NameSubjects(server), JudgeKept(other)]
    assert len({step.checked_as for step in steps}) == 2
