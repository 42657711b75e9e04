"""Recipes for real videos and pictures: they are built without their models, and run with others in their place."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from omnigen2.cli import main
from omnigen2.curation import Limiting, Recipe, Store, read_recipe
from omnigen2.curation.steps import ChatStep, NoIds
from omnigen2.data import JsonlSource, StreamingSource
from tests.curation.stand_ins import GREY, RED, instead, write_red
from tests.paths import RECIPES
from tests.rl.loopback import Answer, Asked, chat_answer, loopback

PIPELINES = ("video_edit", "video_incontext", "video_incontext_edit", "inpaint_edit", "interleaved", "recaption")


def built(name: str, *changes: str) -> Recipe:
    return read_recipe(RECIPES / "curation" / f"{name}.yaml", changes)


@pytest.mark.parametrize("name", PIPELINES)
def test_a_recipe_is_built_and_says_how_it_is_run(name: str) -> None:
    path = RECIPES / "curation" / f"{name}.yaml"
    head = path.read_text().partition("\nvars:")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    assert f"omnigen2 curate recipes/curation/{name}.yaml --clips" in head
    made = built(name, "vars.server.model=NAME", "vars.server.urls=[http://127.0.0.1:1]")
    asking = [step for step in made.steps.values() if isinstance(step, ChatStep)]
    assert {step.server.model for step in asking} == {"NAME"}
    assert isinstance(made.steps["no_ids"], NoIds)
    for step in made.steps.values():
        assert not isinstance(step, Limiting) or set(step.limits) == set(step.reasons)


def test_which_server_answers_makes_no_other_recipe() -> None:
    changes = ("vars.server.urls=[http://127.0.0.1:1]", "vars.server.limits.concurrency=3", "vars.server.workers=2")
    assert built("recaption", *changes).identity == built("recaption").identity
    assert built("recaption", "vars.server.image_side=64").identity != built("recaption").identity


SAID: dict[str, dict[str, Any]] = {
    "colour": {"colour": "grey"},
    "names": {"names": ["the red square"]},
    "same": {"reason": "", "same": True},
    "quality": {"reason": "", "composition": 8, "consistency": 9, "quality": 7},
    "caption": {"usable": True, "caption": "a red square on grey", "problem": ""},
    "subjects": {"usable": True, "subjects": ["a square"], "caption": "a square", "instruction": "", "problem": ""},
    "change": {"usable": True, "change": "The square moves to the right.", "problem": ""},
    "instruction": {"usable": True, "instruction": "Draw a red square.", "problem": ""},
}
"""What the server says, by a field of the schema."""


class Talk:
    """A server that knows all questions, and counts them."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()

    def __call__(self, asked: Asked) -> Answer:
        fields = asked.body["response_format"]["json_schema"]["schema"]["required"]
        kind = next(field for field in ("subjects", *SAID) if field in fields)
        self.asked[kind] += 1
        shown = [part["text"] for part in asked.body["messages"][1]["content"] if part["type"] == "text"]
        named = [label.rstrip(":").lower() for label in shown if re.match(r"Image \d", label)]
        words = {"instruction": f"Show the square of {' and '.join(named)}."} if kind == "subjects" else {}
        return Answer(body=chat_answer(json.dumps({**SAID[kind], **words})))


def curated(name: str, tmp_path: Path, clips: Path) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Examples of a recipe with models that stand in, by the command, and what the server was asked."""
    talk = Talk()
    with loopback(talk) as server:
        recipe = RECIPES / "curation" / f"{name}.yaml"
        changes = [f"vars.server.urls=[{server.url}/v1]", *instead(yaml.safe_load(recipe.read_text())["steps"])]
        words = ["curate", str(recipe), "--clips", str(clips), "--engine", "here"]
        words += ["--out", str(tmp_path / "out"), *(word for change in changes for word in ("--set", change))]
        assert main(words) == 0
    assert talk.asked["colour"] == 1
    return [json.loads(line) for line in (tmp_path / "out" / "examples.jsonl").read_text().splitlines()], talk.asked


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two clips of a red square, one of which it leaves."""
    (tmp_path / "clips").mkdir()
    write_red(tmp_path / "clips" / "moves.mp4", 2.0)
    write_red(tmp_path / "clips" / "leaves.mp4", 2.0, gone=True)
    return tmp_path / "clips"


def test_videos_become_in_context_examples(tmp_path: Path, videos: Path) -> None:
    (example,), asked = curated("video_incontext", tmp_path, videos)
    assert (example["task_type"], example["instruction"]) == ("in_context", "Show the square of image 1.")
    meta = example["meta_data"]
    assert meta["file"] == "moves.mp4"
    assert meta["scores"]["consistency"] == 9
    (subject,) = meta["subjects"]
    assert (subject["name"], len(subject["masks"])) == ("the red square", 2)
    (left,) = [one for one in Store(tmp_path / "out").finished() if one.clip.name == "leaves.mp4"]
    assert [end.reason for end in left.ended] == ["no later frame shows all subjects whole"]
    assert asked == {"colour": 1, "names": 2, "same": 1, "quality": 1, "subjects": 1}
    sample = JsonlSource(tmp_path / "out" / "examples.jsonl")[0]
    assert (sample.task, len(sample.references)) == ("in_context", 1)
    assert json.loads(sample.meta) == meta


def test_videos_become_in_context_edits(tmp_path: Path, videos: Path) -> None:
    (example,), _ = curated("video_incontext_edit", tmp_path, videos)
    assert example["instruction"] == "Show the square of image 1 and image 2."
    context, before = example["input_images"]
    assert ["-background-" in context, "-erased-" in before] == [True, True]
    assert example["output_image"] in {
        f"{Path(before).parent}/{second:.4f}.png" for second in example["meta_data"]["seconds"]
    }


def test_videos_become_interleaved_examples_and_chunks(tmp_path: Path, videos: Path) -> None:
    examples, asked = curated("interleaved", tmp_path, videos)
    assert asked["change"] == len(examples) > 2
    assert main(["data", "optimize", str(tmp_path / "out" / "examples.jsonl"), str(tmp_path / "chunks")]) == 0
    (chunks,) = (path for path in (tmp_path / "chunks").iterdir() if path.is_dir())
    samples = StreamingSource(chunks)
    assert len(samples) == len(examples)
    for number, example in enumerate(examples):
        sample, shown = samples[number], len(example["input_images"])
        assert (sample.task, len(sample.references), sample.instruction) == (
            "interleaved",
            shown,
            example["instruction"],
        )
        assert sample.instruction.count("The square moves to the right.") == shown
        assert json.loads(sample.meta) == example["meta_data"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A picture of a red square, and a file that is none."""
    (tmp_path / "clips").mkdir()
    picture = Image.new("RGB", (64, 48), GREY)
    picture.paste(RED, (12, 10, 36, 34))
    picture.save(tmp_path / "clips" / "one.webp", lossless=True)
    (tmp_path / "clips" / "none.jpg").write_bytes(b"none")
    return tmp_path / "clips"


def test_pictures_become_edits_whose_targets_are_the_originals(tmp_path: Path, pictures: Path) -> None:
    (example,), asked = curated("inpaint_edit", tmp_path, pictures)
    filled, original = (
        np.asarray(Image.open(tmp_path / "out" / name)) for name in (*example["input_images"], example["output_image"])
    )
    assert np.array_equal(original, np.asarray(Image.open(pictures / "one.webp")))
    changed = (filled != original).any(-1)
    assert changed[10:34, 12:36].all()
    assert not changed[:, :8].any()
    assert asked == {"colour": 1, "names": 1, "instruction": 1}


def test_pictures_get_captions(tmp_path: Path, pictures: Path) -> None:
    (example,), asked = curated("recaption", tmp_path, pictures)
    assert (example["task_type"], example["instruction"]) == ("text_to_image", "a red square on grey")
    assert (example["input_images"], asked) == ([], {"colour": 1, "caption": 1})
