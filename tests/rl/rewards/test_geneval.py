"""GenEval's verdicts: the official ones on synthetic detections, and what holds for graded ones."""

import json
import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.rl import Picture, RewardError, RewardRequest
from omnigen2.rl.rewards.geneval import Box, ColourNamer, Detection, Detector, GenEvalReward, check, relations
from omnigen2.rl.rewards.geneval_task import COCO_NAMES, COLOURS, GenEvalTask, Relation, Wanted
from tests.paths import TESTS

CASES = json.loads((TESTS / "parity" / "geneval.json").read_text())["cases"]
PICTURE = torch.zeros(3, 8, 8)


class Painted(Detector, ColourNamer):
    """Finds what it was given, colours included."""

    def __init__(self, found: Sequence[tuple[Detection, str]]) -> None:
        self.found = list(found)
        self.asked: list[str] = []

    def detect(self, picture: Picture) -> list[Detection]:
        return [one for one, _ in self.found]

    def name_colours(self, picture: Picture, objects: Sequence[Detection]) -> list[str]:
        self.asked += [one.name for one in objects]
        return [next(colour for other, colour in self.found if other is one) for one in objects]


def painted(case: dict) -> Painted:
    return Painted([
        (Detection(d["class"], tuple(map(float, d["box"])), d["score"]), d["color"]) for d in case["detections"]
    ])  # fmt: skip


def test_every_verdict_is_the_official_one() -> None:
    wrong = []
    for case in CASES:
        models = painted(case)
        request = RewardRequest(case["metadata"]["prompt"], PICTURE, (), json.dumps(case["metadata"]))
        strict = GenEvalReward(models, models, "strict").score([request])
        graded = GenEvalReward(models, models).score([request])
        if float(strict.value[0]) != float(case["correct"]) or (float(graded.value[0]) == 1) != case["correct"]:
            wrong.append(case)
        assert bool(strict.reason[0]) is not case["correct"]
    assert len(CASES) == 240
    assert wrong == []


coordinates = st.tuples(*[st.floats(0, 100)] * 4).map(
    lambda c: (min(c[0], c[2]), min(c[1], c[3]), max(c[0], c[2]) + 1, max(c[1], c[3]) + 1)
)
OPPOSITE: dict[Relation, Relation] = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}


@given(coordinates, coordinates)
def test_relations_turn_around(first: Box, second: Box) -> None:
    assert {OPPOSITE[relation] for relation in relations(first, second)} == relations(second, first)
    assert relations(first, first) == set()


@given(coordinates, st.floats(0, 1), st.sampled_from(["across", "down"]))
def test_far_along_an_axis_is_one_relation(box: Box, share: float, axis: str) -> None:
    far = 10 * (box[2] - box[0] + box[3] - box[1])
    across, down = (far, share) if axis == "across" else (share, far)
    moved = (box[0] + across, box[1] + down, box[2] + across, box[3] + down)
    assert relations(moved, box) == ({"right of"} if axis == "across" else {"below"})


found = st.lists(
    st.tuples(
        st.builds(Detection, st.sampled_from(["cat", "dog"]), coordinates, st.floats(0, 1)),
        st.sampled_from(COLOURS[:2]),
    ),
    max_size=6,
)
wanted = st.builds(Wanted, st.sampled_from(["cat", "dog"]), st.integers(1, 3), st.sampled_from([None, "red"]))
tasks = st.builds(
    GenEvalTask,
    st.sampled_from(["counting", "two_object"]),
    st.just("x"),
    st.tuples(wanted, st.builds(Wanted, st.just("dog"), st.just(1), st.none(), st.just(("above", 0)))),
    st.one_of(st.just(()), st.tuples(wanted)),
)


@given(tasks, found, st.randoms(use_true_random=False))
def test_verdicts_do_not_depend_on_the_order_of_detections(task: GenEvalTask, objects: list, random: object) -> None:
    scores = [one.score for one, _ in objects]
    models = Painted(objects)
    straight = check(task, models.detect(PICTURE), PICTURE, models)
    shuffled = list(objects)
    random.shuffle(shuffled)
    if len(set(scores)) == len(scores):
        again = Painted(shuffled)
        assert check(task, again.detect(PICTURE), PICTURE, again) == straight


@given(tasks)
def test_a_blank_picture_meets_nothing_that_was_asked_for(task: GenEvalTask) -> None:
    models = Painted([])
    clauses = check(task, [], PICTURE, models)
    asked = {wanted.name for wanted in task.include}
    free = sum(limit.name not in asked for limit in task.exclude)
    assert sum(clause.met for clause in clauses) == free
    assert len(clauses) >= 2


def test_counting_needs_surer_detections() -> None:
    box = (0.0, 0.0, 4.0, 4.0)
    models = Painted([(Detection("cat", box, 0.8), "red")])
    for tag, met in (("counting", False), ("single_object", True)):
        task = GenEvalTask(tag, "a cat", (Wanted("cat", 1),))
        assert check(task, models.detect(PICTURE), PICTURE, models)[0].met is met


def test_colours_are_named_only_where_asked() -> None:
    models = Painted([(Detection("cat", (0.0, 0.0, 4.0, 4.0), 0.8), "red")])
    check(GenEvalTask("x", "", (Wanted("cat", 1),)), models.detect(PICTURE), PICTURE, models)
    assert models.asked == []
    clauses = check(GenEvalTask("x", "", (Wanted("cat", 1, "red"),)), models.detect(PICTURE), PICTURE, models)
    assert models.asked == ["cat"]
    assert [clause.met for clause in clauses] == [True, True]


def test_a_relation_to_what_was_not_found_as_asked_is_not_met() -> None:
    models = Painted([
        (Detection("cat", (0.0, 10.0, 4.0, 14.0), 0.8), "blue"), (Detection("dog", (0.0, 0.0, 4.0, 4.0), 0.8), "red"),
    ])  # fmt: skip
    for colour, met in (("red", False), ("blue", True)):
        task = GenEvalTask("x", "", (Wanted("cat", 1, colour), Wanted("dog", 1, None, ("above", 0))))
        assert check(task, models.detect(PICTURE), PICTURE, models)[-1].met is met


def test_broken_pictures_are_invalid() -> None:
    models = Painted([])
    request = RewardRequest("x", PICTURE * math.nan, (), json.dumps(CASES[0]["metadata"]))
    assert GenEvalReward(models, models).score([request]).causes() == {"bad picture": 1}


def test_every_line_of_the_metadata_is_read() -> None:
    tasks = [GenEvalTask.from_json(json.dumps(case["metadata"])) for case in CASES]
    assert [task.prompt for task in tasks] == [case["metadata"]["prompt"] for case in CASES]
    assert {one.name for task in tasks for one in (*task.include, *task.exclude)} <= set(COCO_NAMES)
    assert len(COCO_NAMES) == len(set(COCO_NAMES)) == 80


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "JSONDecodeError"),
        ('{"tag": "x", "prompt": "y"}', "KeyError"),
        ('{"tag": "x", "prompt": "y", "include": []}', "asks for nothing"),
        ('{"tag": "x", "prompt": "y", "include": [{"class": "cat", "count": 0}]}', "a count of at least 1"),
        ('{"tag": "x", "prompt": "y", "include": [{"class": "cat", "count": 1, "color": "grey"}]}', "the colours are"),
        ('{"tag": "x", "prompt": "y", "include": [{"class": "a", "count": 1, "position": ["above", 0]}]}', "earlier"),
        ('{"tag": "x", "prompt": "y", "include": [{"class": "a", "count": 1, "colour": "red"}]}', "an entry needs"),
    ],
)
def test_lines_that_are_no_task_are_named(line: str, problem: str) -> None:
    with pytest.raises(RewardError, match=f"m.jsonl, line 2 .*{problem}"):
        GenEvalTask.from_json(line, "m.jsonl, line 2")
