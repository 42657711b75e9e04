"""What a sample may be, and that it survives being stored."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnigen2.data import TASKS, DataError, Sample, SampleSizes
from omnigen2.data.chunks.record import MAGIC, PREFIX, checksum_of, decode, encode
from omnigen2.data.samples.sample import measure
from omnigen2.pictures import ImageReader
from tests.data.cases import answer, drawing, edit, picture

words = st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs"])).filter(str.strip)
blobs = st.binary(min_size=1, max_size=50)
NEEDS = {
    "text_to_image": (False, {True}, {False}),
    "edit": (True, {True}, {False}),
    "in_context": (True, {True}, {False}),
    "understanding": (None, {False}, {True}),
    "reflection": (True, {True, False}, {True}),
    "interleaved": (None, {True, False}, {True, False}),
}


@st.composite
def samples(draw):
    task = draw(st.sampled_from(TASKS))
    references, targets, answers = NEEDS[task]
    count = draw(st.integers(0, 3)) if references is None else draw(st.integers(1, 3)) if references else 0
    target = draw(st.sampled_from(sorted(targets)))
    said = draw(st.sampled_from(sorted(answers))) if target or task != "interleaved" else True
    return Sample(
        task,
        draw(words),
        tuple(draw(blobs) for _ in range(count)),
        draw(blobs) if target else None,
        draw(words) if said else None,
        draw(words),
        draw(st.text(alphabet=st.characters(exclude_categories=["Cs"]))),
    )


@given(sample=samples())
def test_a_stored_sample_comes_back_equal(sample: Sample) -> None:
    assert decode(encode(sample), "it") == sample
    assert decode(memoryview(encode(sample)), "it") == sample


@given(sample=samples(), data=st.data())
def test_no_changed_byte_goes_unnoticed(sample: Sample, data) -> None:
    record = bytearray(encode(sample))
    place = data.draw(st.integers(0, len(record) - 1))
    record[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DataError, match=r"^it (is no record|is damaged or truncated)"):
        decode(bytes(record), "it")
    with pytest.raises(DataError, match=r"^it (is no record|is damaged or truncated)"):
        decode(encode(sample)[:place], "it")


def test_a_record_of_another_schema_is_refused() -> None:
    def record(header: object) -> bytes:
        text = json.dumps(header).encode()
        return PREFIX.pack(MAGIC, len(text), checksum_of(len(text), text)) + text

    good = {
        "task": "edit",
        "instruction": "",
        "answer": None,
        "key": "",
        "meta": "",
        "lengths": [],
        "latents": [],
        "states": [],
        "has_target": False,
    }
    for header, message in (
        ([], "no JSON object"),
        ({**good, "new": 1}, "has the fields"),
        ({**good, "lengths": None}, "has lengths null, expected a list of whole numbers"),
        ({**good, "lengths": [-1]}, "has lengths -1, expected a whole number of at least 0"),
        ({**good, "lengths": [5]}, "has lengths of 1 parts, which are not those of its content"),
        ({**good, "has_target": True}, "has lengths of 0 parts, which"),
        ({**good, "latents": [{"shape": [2], "stored_as": "int3"}], "lengths": [0]}, 'stored_as "int3", expected one'),
        ({**good, "task": "x"}, 'has task "x", expected one of'),
        ({**good, "instruction": []}, r"has instruction \[\], expected text"),
    ):
        with pytest.raises(DataError, match=message):
            decode(record(header), "it")


def test_images_that_are_paths_are_stored_by_content(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(picture())
    assert decode(encode(Sample("text_to_image", "x", target=file)), "it").target == picture()


def test_sizes_are_those_of_the_images() -> None:
    reader = ImageReader()
    assert measure(edit(0), 5, reader) == SampleSizes(5, ((24, 16),), (16, 24))
    assert measure(answer(0), 5, reader) == SampleSizes(5, (), None)
    assert measure(drawing(0), 0, reader).target == (16, 16)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"instruction": "  "}, "k has an empty instruction"),
        ({"answer": ""}, "k has an empty answer"),
        ({"target": b""}, "k has an image of 0 bytes"),
        ({"target": None}, "of task text_to_image, which needs a target image"),
        ({"references": (b"x",)}, r"takes no references \(got 1 references\)"),
        ({"answer": "yes"}, "takes no answer"),
        ({"task": "edit"}, r"edit, which needs at least 1 reference \(got 0"),
        ({"task": "in_context", "references": (b"x",), "target": None}, "in_context, which needs a target"),
        ({"task": "in_context", "references": (b"x",), "answer": "yes"}, "takes no answer"),
        ({"task": "understanding"}, "needs an answer"),
        ({"task": "understanding", "answer": "yes"}, "takes no target image"),
        ({"task": "reflection"}, "needs an answer"),
        ({"task": "reflection", "answer": "yes"}, "needs at least 1 reference"),
        ({"task": "interleaved", "target": None}, "needs a target image or an answer"),
    ],
)
def test_a_sample_that_does_not_fit_its_task_is_refused(parts, message) -> None:
    with pytest.raises(DataError, match=message):
        Sample(**{"task": "text_to_image", "instruction": "x", "target": b"x", "key": "k", **parts})
